"""Shorten means: take a mean over many mel rows in two steps.

XNNPACK has depthwise kernels of at most 25 taps; a longer one is computed channel by channel.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_asc.contract import Affine
from edge_asc_export.graph import Conv2D, Graph, Node, output_shape
from edge_asc_export.pipeline import Lowered, Pass

MOST_TAPS = 25
TAPS = 8


def shorten_means(lowered: Lowered) -> Lowered:
    """Replace each long mean over mel by means of TAPS rows, quantised as what is averaged, and the mean of those."""
    graph = lowered.graph
    nodes: list[Node] = []
    shapes = dict(graph.shapes)
    qparams: dict[str, Affine] = {}
    for node in graph.nodes:
        if not isinstance(node, Conv2D) or not _is_long_mean(node, graph):
            nodes.append(node)
            continue
        channels = node.weight.shape[3]
        parts = replace(
            node,
            output=f"{node.output}_parts",
            weight=np.full((TAPS, 1, 1, channels), 1.0 / TAPS, np.float32),
            bias=np.zeros(channels, np.float32),
            stride=(TAPS, 1),
            relu=False,
        )
        nodes.append(parts)
        shapes[parts.output] = output_shape(parts, shapes)
        if node.input in lowered.qparams:
            qparams[parts.output] = lowered.qparams[node.input]
        rest = node.weight[: len(node.weight) // TAPS] * TAPS
        nodes.append(replace(node, input=parts.output, weight=rest))
    return lowered.with_graph(replace(graph, nodes=tuple(nodes), shapes=shapes), qparams)


def _is_long_mean(node: Conv2D, graph: Graph) -> bool:
    taps = node.weight.shape[0]
    whole = node.weight.shape[1] == 1 and graph.shapes[node.input][0] == taps and not any(map(any, node.padding))
    return node.depthwise and whole and taps > MOST_TAPS and taps % TAPS == 0 and not np.ptp(node.weight, axis=0).any()


PASS = Pass(
    name="shorten means",
    needs="means over mel as depthwise convolutions of equal weights",
    exact="the mean of equally many means is the mean of all; integers are rounded once more, after the first step",
    run=shorten_means,
)
