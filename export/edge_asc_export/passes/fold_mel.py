"""Fold mel into channels: give the first convolution blocks of neighbouring mel bins as channels.

A convolution of one channel uses a small part of what a processor's dot products can do. With `FACTOR` neighbouring
bins as channels its kernel spans two blocks of bins, and where its stride is smaller than a block it computes several
rows of its output at once, as channels that are then rows again. In a (time, mel, channel) layout neither moves values.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_asc_export.graph import Array, Concat, Conv2D, Fold, Node, Unfold, output_shape
from edge_asc_export.pipeline import Lowered, Pass

FACTOR = 4


def fold_mel(lowered: Lowered) -> Lowered:
    """Let the first convolution read blocks of FACTOR mel bins; new tensors are quantised as those they are made of.

    What comes before that convolution (a normalisation) is left as it is. Without a convolution of one channel nothing
    changes.
    """
    graph = lowered.graph
    stem = next((node for node in graph.nodes if isinstance(node, Conv2D)), None)
    if stem is None or stem.depthwise or stem.weight.shape[2] != 1 or FACTOR % stem.stride[0]:
        return lowered
    rows, mels_out = FACTOR // stem.stride[0], graph.shapes[stem.output][0]
    if mels_out % rows:
        return lowered
    weight = _fold_weight(stem.weight, stem.stride[0])
    width = mels_out // rows + weight.shape[0] - 1
    # A cache joined to the features, in a step.
    joined = next((node for node in graph.nodes if isinstance(node, Concat) and node.output == stem.input), None)
    source = joined.parts[-1] if joined else stem.input
    before = stem.padding[0][0]
    fold = Fold(f"{source}_folded", source, FACTOR, (before, width * FACTOR - graph.shapes[source][0] - before))
    conv = replace(
        stem,
        output=f"{stem.output}_folded" if rows > 1 else stem.output,
        input=stem.input if joined else fold.output,
        weight=weight,
        bias=np.tile(stem.bias, rows),
        stride=(1, stem.stride[1]),
        padding=((0, 0), stem.padding[1]),
    )
    convs: list[Node] = [conv, *([Unfold(stem.output, conv.output, rows)] if rows > 1 else [])]
    new = {stem.output: convs if joined else [fold, *convs]}
    if joined:
        new[joined.output] = [fold, replace(joined, parts=(*joined.parts[:-1], fold.output))]
    nodes = [part for node in graph.nodes for part in new.get(node.output, [node])]
    shapes = dict(graph.shapes)
    for port in graph.inputs:
        if joined and port.tensor in joined.parts[:-1]:
            shapes[port.tensor] = (width, shapes[port.tensor][1], FACTOR)
    for node in nodes:
        shapes[node.output] = output_shape(node, shapes)
    alike = {fold.output: source, conv.output: stem.output}
    qparams = {tensor: lowered.qparams[like] for tensor, like in alike.items() if like in lowered.qparams}
    return lowered.with_graph(replace(graph, nodes=tuple(nodes), shapes=shapes), qparams)


def _fold_weight(weight: Array, stride: int) -> Array:
    """Rearrange (kernel, time, 1, outputs) → (blocks, time, FACTOR, rows · outputs), row after row."""
    kernel, time, _, outputs = weight.shape
    rows = FACTOR // stride
    blocks = -(-(FACTOR - stride + kernel) // FACTOR)
    spread = np.zeros((blocks * FACTOR, time, rows, outputs), np.float32)
    for row in range(rows):
        spread[row * stride : row * stride + kernel, :, row] = weight[:, :, 0]
    spread = spread.reshape(blocks, FACTOR, time, rows * outputs)
    return np.ascontiguousarray(spread.transpose(0, 2, 1, 3))


PASS = Pass(
    name="fold mel into channels",
    needs="a first convolution of one channel whose mel stride divides FACTOR",
    exact="the same products and sums in another arrangement; added taps are zeros",
    run=fold_mel,
)
