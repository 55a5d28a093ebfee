"""Equalise: scale the channels of a tensor to similar magnitudes, and divide the weights that read them.

Free at run time: the layer that writes a tensor multiplies its output channels, the layers that read it divide their
weights. ReLU, sums, pools, slices and concatenations let positive scales through, so that whole residual paths are
scaled as one (after Nagel et al., ICCV 2019, who scale pairs of layers).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edge_asc.errors import ExportError
from edge_asc_export.graph import (
    GRU,
    Add,
    Array,
    Concat,
    Conv2D,
    Graph,
    Linear,
    MaxPool,
    Node,
    Reshape,
    Slice,
    group_tied,
)
from edge_asc_export.pipeline import Pass

if TYPE_CHECKING:
    from edge_asc_export.plan import Plan


@dataclass(frozen=True)
class Group:
    """Tensors that share their channels' scales.

    Attributes:
        tensors: by name, in the order of the graph.
        channels: how many.
        free: whether only depthwise convolutions read them: their integer weights have a scale of their own for each
            channel, so that nothing is lost by dividing.
    """

    tensors: tuple[str, ...]
    channels: int
    free: bool


def groups(graph: Graph) -> list[Group]:
    """Return the groups of tensors that can be scaled, in the order of the graph."""
    ties: list[tuple[str, ...]] = [(source.tensor, target.tensor) for source, target in graph.states()]
    blocked = {port.tensor for port in graph.inputs if port.role == "features" or port.tensor.startswith("hidden_")}
    blocked |= set(graph.constants)
    dense: set[str] = set()
    for node in graph.nodes:
        match node:
            case Conv2D():
                if not node.depthwise:
                    dense.add(node.input)
            case Linear():
                dense.add(node.input)
                blocked.add(node.output)
            case GRU():
                dense.add(node.input)
                blocked |= {node.output, node.hidden}
            case Add() | MaxPool() | Reshape() | Concat() | Slice() if _keeps_channels(node, graph):
                ties.append((node.output, *node.inputs))
            case _:
                blocked |= {node.output, *node.inputs}
    return [
        Group(tensors, graph.shapes[tensors[0]][-1], not dense & set(tensors))
        for tensors in group_tied(graph.shapes, ties)
        if not blocked & set(tensors)
    ]


def _keeps_channels(node: Node, graph: Graph) -> bool:
    last = len(graph.shapes[node.output]) - 1
    if isinstance(node, Concat | Slice) and node.axis == last:
        return False
    return all(graph.shapes[tensor][-1] == graph.shapes[node.output][-1] for tensor in node.inputs)


def equalise(graph: Graph, scales: Mapping[str, Sequence[float]]) -> Graph:
    """Multiply the channels of some tensors; apart from rounding, the graph computes the same.

    Args:
        graph: not expanded.
        scales: positive factors of the channels of every tensor of some groups, by tensor name.

    Raises:
        ExportError: a tensor cannot be scaled this way.
    """
    known = {tensor: group for group in groups(graph) for tensor in group.tensors}
    factors: dict[str, Array] = {tensor: np.ones(shape[-1], np.float32) for tensor, shape in graph.shapes.items()}
    for tensor, values in scales.items():
        group = known.get(tensor)
        scale = np.asarray(values, np.float32)
        whole = group is not None and all(np.array_equal(scales.get(member, ()), values) for member in group.tensors)
        if group is None or not whole or scale.shape != (group.channels,) or not (scale > 0).all():
            raise ExportError(
                f"{tensor}: cannot be equalised: the quantisation plan belongs to another model, or to an "
                "older version; record it again with --calibration DIR"
            )
        factors[tensor] = scale

    def scale_weights(node: Node) -> Node:
        match node:
            case Conv2D():
                source, target = factors[node.input], factors[node.output]
                divisor = source if node.depthwise else source[:, None]
                return replace(node, weight=node.weight / divisor * target, bias=node.bias * target)
            case Linear() | GRU():
                return replace(node, weight=node.weight / factors[node.input])
            case _:
                return node

    return replace(graph, nodes=tuple(map(scale_weights, graph.nodes)))


def equalise_by_plan(graph: Graph, plan: Plan) -> Graph:
    """Return a graph, not expanded, equalised as a static plan states; other plans leave it as it is.

    Raises:
        ExportError: the plan belongs to another model.
    """
    scales = plan.scales_of(graph)
    return equalise(graph, scales) if scales else graph


PASS = Pass(
    name="equalise channels",
    needs="a graph with its GRU as one node",
    exact="each channel's factor is divided out by the weights that read it; ReLU, sums and pools commute with it",
    run=lambda lowered: lowered.with_graph(equalise_by_plan(lowered.graph, lowered.plan)),
)
