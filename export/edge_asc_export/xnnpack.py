"""Forms of a graph that suit XNNPACK's kernels: exact in real numbers, and much cheaper.

*Mel into channels.* A convolution of one channel uses a small part of what a processor's dot products can take. With
`FACTOR` neighbouring bins as channels its kernel spans two blocks of bins, and where its stride is smaller than a block
it computes several rows of its output at once, as channels that are then rows again. In a (time, mel, channel) layout
neither moves a value.

*Short means.* XNNPACK has depthwise kernels of at most 25 taps; a longer one is computed channel by channel. The mean
over all mel rows is taken in two steps.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_asc.contract import Affine
from edge_asc_export.graph import Array, Concat, Conv, Fold, Graph, Node, Unfold, output_shape

FACTOR = 4
MOST_TAPS = 25
TAPS = 8


def suited(graph: Graph, grids: dict[str, Affine]) -> Graph:
    """The graph in forms that suit XNNPACK; `grids` gets those of new tensors."""
    return shorten_means(fold_mel(graph, grids), grids)


def shorten_means(graph: Graph, grids: dict[str, Affine]) -> Graph:
    """The graph with long means over mel in two steps: of TAPS rows, on the grid of what is averaged, and of those."""
    nodes: list[Node] = []
    shapes = dict(graph.shapes)
    for node in graph.nodes:
        if isinstance(node, Conv) and _is_long_mean(node, graph):
            channels = node.weight.shape[3]
            weight = np.full((TAPS, 1, 1, channels), 1.0 / TAPS, np.float32)
            parts = replace(
                node,
                output=f"{node.output}_parts",
                weight=weight,
                bias=np.zeros(channels, np.float32),
                stride=(TAPS, 1),
                relu=False,
            )
            nodes.append(parts)
            shapes[parts.output] = output_shape(parts, shapes)
            if node.input in grids:
                grids[parts.output] = grids[node.input]
            rest = node.weight[: len(node.weight) // TAPS] * TAPS
            nodes.append(replace(node, input=parts.output, weight=rest))
        else:
            nodes.append(node)
    return replace(graph, nodes=tuple(nodes), shapes=shapes)


def _is_long_mean(node: Conv, graph: Graph) -> bool:
    taps = node.weight.shape[0]
    whole = node.weight.shape[1] == 1 and graph.shapes[node.input][0] == taps and not any(map(any, node.padding))
    return node.depthwise and whole and taps > MOST_TAPS and taps % TAPS == 0 and not np.ptp(node.weight, axis=0).any()


def fold_mel(graph: Graph, grids: dict[str, Affine]) -> Graph:
    """The graph with its first convolution on blocks of FACTOR mel bins; `grids` gets those of new tensors.

    What comes before that convolution (a normalisation) is left as it is. The graph itself is returned where there is
    no convolution of one channel.
    """
    stem = next((node for node in graph.nodes if isinstance(node, Conv)), None)
    if stem is None or stem.depthwise or stem.weight.shape[2] != 1 or FACTOR % stem.stride[0]:
        return graph
    rows = FACTOR // stem.stride[0]
    weight = _folded(stem.weight, stem.stride[0])
    result = graph.shapes[stem.output]
    blocks = result[0] // rows
    if blocks * rows != result[0]:
        return graph
    width = blocks + weight.shape[0] - 1
    joined = next((node for node in graph.nodes if isinstance(node, Concat) and node.output == stem.input), None)
    source = joined.parts[-1] if joined else stem.input
    mels = graph.shapes[source][0]
    before = stem.padding[0][0]
    fold = Fold(f"{source}_folded", source, FACTOR, (before, width * FACTOR - mels - before))
    conv = replace(
        stem,
        output=f"{stem.output}_folded" if rows > 1 else stem.output,
        input=stem.input if joined else fold.output,
        weight=weight,
        bias=np.tile(stem.bias, rows),
        stride=(1, stem.stride[1]),
        padding=((0, 0), stem.padding[1]),
    )
    after: list[Node] = [Unfold(stem.output, conv.output, rows)] if rows > 1 else []
    nodes: list[Node] = []
    for node in graph.nodes:
        if node is joined or (joined is None and node is stem):
            nodes.append(fold)
        if node is joined:
            nodes.append(replace(joined, parts=(*joined.parts[:-1], fold.output)))
        elif node is stem:
            nodes += [conv, *after]
        else:
            nodes.append(node)
    if source in grids:
        grids[fold.output] = grids[source]
    if after and stem.output in grids:
        grids[conv.output] = grids[stem.output]
    shapes = dict(graph.shapes)
    for port in graph.inputs:
        if joined and port.tensor in joined.parts[:-1]:
            shapes[port.tensor] = (width, shapes[port.tensor][1], FACTOR)
    for node in nodes:
        shapes[node.output] = output_shape(node, shapes)
    return replace(graph, nodes=tuple(nodes), shapes=shapes)


def _folded(weight: Array, stride: int) -> Array:
    """(kernel, time, 1, outputs) → (blocks, time, FACTOR, rows · outputs), rows of the output one after another."""
    kernel, time, _, outputs = weight.shape
    rows = FACTOR // stride
    blocks = -(-(FACTOR - stride + kernel) // FACTOR)
    spread = np.zeros((blocks * FACTOR, time, rows, outputs), np.float32)
    for row in range(rows):
        spread[row * stride : row * stride + kernel, :, row] = weight[:, :, 0]
    spread = spread.reshape(blocks, FACTOR, time, rows * outputs)
    return np.ascontiguousarray(spread.transpose(0, 2, 1, 3))
