"""Equalisation: channels of a tensor scaled to like magnitudes, and the scales taken back by what reads them.

Exact in real numbers, and free at run time: what writes a tensor multiplies its output channels, what reads it divides
its weights. ReLU, sums, pools, slices and concatenations let positive scales through, so that whole residual paths are
scaled as one (after Nagel et al., ICCV 2019, who scale pairs of layers).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_asc.errors import ExportError
from edge_asc_export.graph import (
    GRU,
    Add,
    Array,
    Concat,
    Conv,
    Graph,
    Linear,
    MaxPool,
    Node,
    Reshape,
    Slice,
    united,
)


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
    """The groups of tensors that can be scaled, in the order of the graph."""
    ties: list[tuple[str, ...]] = [(source.tensor, target.tensor) for source, target in graph.states()]
    blocked = {port.tensor for port in graph.inputs if port.role == "features" or port.tensor.startswith("hidden_")}
    blocked |= set(graph.constants)
    dense: set[str] = set()
    for node in graph.nodes:
        match node:
            case Conv():
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
        for tensors in united(graph.shapes, ties)
        if not blocked & set(tensors)
    ]


def _keeps_channels(node: Node, graph: Graph) -> bool:
    last = len(graph.shapes[node.output]) - 1
    if isinstance(node, Concat | Slice) and node.axis == last:
        return False
    return all(graph.shapes[tensor][-1] == graph.shapes[node.output][-1] for tensor in node.inputs)


def equalise(graph: Graph, scales: Mapping[str, Sequence[float]]) -> Graph:
    """The graph with the channels of some tensors multiplied; in real numbers it computes the same.

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
            raise ExportError(f"{tensor}: cannot be equalised; the quantisation plan belongs to another model")
        factors[tensor] = scale

    def scaled(node: Node) -> Node:
        match node:
            case Conv():
                source, target = factors[node.input], factors[node.output]
                divisor = source if node.depthwise else source[:, None]
                return replace(node, weight=node.weight / divisor * target, bias=node.bias * target)
            case Linear() | GRU():
                return replace(node, weight=node.weight / factors[node.input])
            case _:
                return node

    return replace(graph, nodes=tuple(map(scaled, graph.nodes)))
