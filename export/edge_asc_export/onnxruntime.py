"""Forms of a graph that suit onnxruntime's kernels: exact in real numbers, and much cheaper.

*Bands as one.* onnxruntime computes a depthwise convolution channel by channel, and few rows cost it as much as many.
What differs from band to band of a sub-spectral normalisation is a factor and a shift of each channel, which are
multiplied and added after one convolution over all rows. Integers would be rounded more often that way, and keep their
bands.

*Mel into channels*, as for XNNPACK, suits its integer kernels; the float ones take a convolution of one channel as it
is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edge_asc.contract import Affine
from edge_asc_export.graph import Add, Array, Concat, Conv, Graph, Multiply, Node, Slice, output_shape
from edge_asc_export.xnnpack import fold_mel


def suited(graph: Graph, grids: dict[str, Affine]) -> Graph:
    """The graph in forms that suit onnxruntime, which are others for integers; `grids` gets those of new tensors."""
    return fold_mel(graph, grids) if grids else merge_bands(graph)


def merge_bands(graph: Graph) -> Graph:
    """The graph with the convolutions of bands of mel rows as one, where they differ by factors alone."""
    producers = {node.output: node for node in graph.nodes}
    nodes: dict[str, Node] = {}
    constants, gone = dict(graph.constants), set[str]()
    for node in graph.nodes:
        parts = node.parts if isinstance(node, Concat) and node.axis == 0 else ()
        bands = [part for name in parts if isinstance(part := producers.get(name), Conv)]
        rows = [part for band in bands if isinstance(part := producers.get(band.input), Slice) and part.axis == 0]
        factored = _factored(bands) if len(rows) == len(parts) > 0 and _cover(rows, bands, graph) else None
        if factored is None:
            nodes[node.output] = node
            continue
        base, factors = factored
        sizes = [graph.shapes[band.output][0] for band in bands]
        constants[f"{node.output}_factor"] = np.repeat(factors, sizes, axis=0)[:, None]
        constants[f"{node.output}_shift"] = np.repeat(np.stack([band.bias for band in bands]), sizes, axis=0)[:, None]
        halo = len(base) // 2
        whole = replace(
            bands[0],
            output=f"{node.output}_whole",
            input=rows[0].input,
            weight=base,
            bias=np.zeros_like(bands[0].bias),
            padding=((halo, halo), bands[0].padding[1]),
        )
        scaled = Multiply(f"{node.output}_scaled", whole.output, f"{node.output}_factor")
        for new in (whole, scaled, Add(node.output, scaled.output, f"{node.output}_shift")):
            nodes[new.output] = new
        gone.update(part.output for part in (*bands, *rows))
    kept = [node for name, node in nodes.items() if name not in gone]
    shapes = dict(graph.shapes) | {name: value.shape for name, value in constants.items()}
    for node in kept:
        shapes[node.output] = output_shape(node, shapes)
    return replace(graph, nodes=tuple(kept), shapes=shapes, constants=constants)


def _cover(rows: Sequence[Slice], bands: Sequence[Conv], graph: Graph) -> bool:
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


def _factored(bands: Sequence[Conv]) -> tuple[Array, Array] | None:
    """The weights of bands as those of one and factors, (bands, channels); None where they differ by more than that."""
    weights = np.stack([band.weight for band in bands]).astype(np.float64)
    largest = (weights**2).sum(axis=(1, 2, 3)).argmax(axis=0)
    base = np.take_along_axis(weights, largest[None, None, None, None], axis=0)[0]
    energy = (base**2).sum(axis=(0, 1, 2))
    factors = (weights * base).sum(axis=(1, 2, 3)) / np.where(energy > 0, energy, 1.0)
    if not np.allclose(factors[:, None, None, None] * base, weights, rtol=1e-4, atol=1e-6 * np.abs(base).max()):
        return None
    return base.astype(np.float32), factors.astype(np.float32)
