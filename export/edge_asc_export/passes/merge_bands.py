"""Merge bands: compute the convolutions of mel bands as one over all rows.

onnxruntime computes a depthwise convolution channel by channel, and few rows cost it as much as many. What differs from
band to band of a sub-spectral normalisation is a factor and a shift of each channel, which are multiplied and added
after one convolution. Integers would be rounded more often that way, and keep their bands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_asc_export.graph import Add, Array, Concat, Conv2D, Graph, Multiply, Node, Slice, output_shape
from edge_asc_export.pipeline import Pass


@dataclass(frozen=True)
class _Bands:
    """Convolutions of rows of one tensor, joined again, that are one convolution but for a factor of each channel."""

    output: str
    rows: tuple[Slice, ...]
    convs: tuple[Conv2D, ...]
    sizes: tuple[int, ...]
    weight: Array
    factors: Array

    def merge(self) -> tuple[tuple[Node, ...], dict[str, Array]]:
        """Return the nodes that take their place, and the constants that these read."""
        first, halo = self.convs[0], len(self.weight) // 2
        shifts = np.stack([band.bias for band in self.convs])
        constants = {
            f"{self.output}_factor": np.repeat(self.factors, self.sizes, axis=0)[:, None],
            f"{self.output}_shift": np.repeat(shifts, self.sizes, axis=0)[:, None],
        }
        whole = replace(
            first,
            output=f"{self.output}_whole",
            input=self.rows[0].input,
            weight=self.weight,
            bias=np.zeros_like(first.bias),
            padding=((halo, halo), first.padding[1]),
        )
        scaled = Multiply(f"{self.output}_scaled", whole.output, f"{self.output}_factor")
        return (whole, scaled, Add(self.output, scaled.output, f"{self.output}_shift")), constants


def merge_bands(graph: Graph) -> Graph:
    """Return the graph with the convolutions of bands of mel rows as one, where they differ by factors alone."""
    producers = {node.output: node for node in graph.nodes}
    nodes: dict[str, Node] = {}
    constants, merged = dict(graph.constants), set[str]()
    for node in graph.nodes:
        bands = _find_bands(node, producers, graph)
        if bands is None:
            nodes[node.output] = node
            continue
        new, added = bands.merge()
        nodes.update({each.output: each for each in new})
        constants |= added
        merged.update(part.output for part in (*bands.convs, *bands.rows))
    kept = [node for name, node in nodes.items() if name not in merged]
    shapes = dict(graph.shapes) | {name: value.shape for name, value in constants.items()}
    for node in kept:
        shapes[node.output] = output_shape(node, shapes)
    return replace(graph, nodes=tuple(kept), shapes=shapes, constants=constants)


def _find_bands(node: Node, producers: Mapping[str, Node], graph: Graph) -> _Bands | None:
    """Return the bands that a node joins, if they can be merged."""
    if not isinstance(node, Concat) or node.axis != 0:
        return None
    convs = [part for name in node.parts if isinstance(part := producers.get(name), Conv2D)]
    rows = [part for band in convs if isinstance(part := producers.get(band.input), Slice) and part.axis == 0]
    if not len(rows) == len(node.parts) > 0 or not _cover(rows, convs, graph):
        return None
    factored = _factor(convs)
    if factored is None:
        return None
    sizes = tuple(graph.shapes[band.output][0] for band in convs)
    return _Bands(node.output, tuple(rows), tuple(convs), sizes, *factored)


def _cover(rows: Sequence[Slice], bands: Sequence[Conv2D], graph: Graph) -> bool:
    """Whether bands of rows are together all rows of one tensor, in order, computed alike and read by nothing else."""
    given_out = {port.tensor for port in graph.outputs}
    parts = (*rows, *bands)
    alone = all(len(list(graph.consumers(part.output))) == 1 and part.output not in given_out for part in parts)
    start = 0
    for part, band in zip(rows, bands, strict=True):
        # The first row under the kernel, be it there or padded.
        if part.begin - band.padding[0][0] != start - len(band.weight) // 2:
            return False
        start += graph.shapes[band.output][0]
    plain = all(band.depthwise and not band.relu and band.stride == (1, 1) for band in bands)
    alike = {(part.input, band.weight.shape, band.padding[1]) for part, band in zip(rows, bands, strict=True)}
    total = sum(graph.shapes[band.output][0] for band in bands)
    return alone and plain and len(alike) == 1 and total == graph.shapes[rows[0].input][0]


def _factor(bands: Sequence[Conv2D]) -> tuple[Array, Array] | None:
    """Write the weights of bands as those of one and factors, (bands, channels); None where that is not exact."""
    weights = np.stack([band.weight for band in bands]).astype(np.float64)
    largest = (weights**2).sum(axis=(1, 2, 3)).argmax(axis=0)
    base = np.take_along_axis(weights, largest[None, None, None, None], axis=0)[0]
    energy = (base**2).sum(axis=(0, 1, 2))
    factors = (weights * base).sum(axis=(1, 2, 3)) / np.where(energy > 0, energy, 1.0)
    if not np.allclose(factors[:, None, None, None] * base, weights, rtol=1e-4, atol=1e-6 * np.abs(base).max()):
        return None
    return base.astype(np.float32), factors.astype(np.float32)


PASS = Pass(
    name="merge bands",
    needs="float tensors; bands that cover all rows of one tensor and are read by nothing else",
    exact="each band's weights are those of the merged convolution times a factor of each channel, to 1e-4 of them",
    run=lambda lowered: lowered.with_graph(merge_bands(lowered.graph)),
)
