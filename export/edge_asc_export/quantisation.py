"""Post-training quantisation: activation ranges, and the integer grids that both writers and the simulation share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from edge_asc.contract import Affine
from edge_asc.errors import ExportError
from edge_asc_export.graph import Array, Concat, Graph, MaxPool, Reshape, Sigmoid, Slice, Tanh
from edge_asc_export.lowering import equalise

Scheme = Literal["none", "fp16", "int8-dynamic", "int8"]
SCHEMES: tuple[Scheme, ...] = ("none", "fp16", "int8-dynamic", "int8")

# 1: first version.
SCHEMA_VERSION = 1

LOW, HIGH = -128, 127
UNIT = Affine(1.0 / 256.0, LOW)  # [0, 1): what integer kernels of the logistic function give
SIGNED = Affine(1.0 / 128.0, 0)  # [−1, 1): tanh, and a hidden state of a GRU, which cannot leave it


@dataclass(frozen=True)
class Calibration:
    """What was recorded on training audio so that an int8 export needs none.

    Attributes:
        ranges: smallest and largest value of each tensor of the expanded export form, after equalisation.
        equalisation: per-channel scales of the tensors that are equalised.
        provenance: data set, clips, steps, method.
    """

    ranges: Mapping[str, tuple[float, float]]
    equalisation: Mapping[str, tuple[float, ...]]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back to an equal calibration."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ExportError: there is none, or it has another version.
        """
        if not value:
            raise ExportError(
                "the checkpoint holds no activation ranges, which int8 needs; "
                "give recordings with --calibration DIR, or choose another --quantize"
            )
        if value.get("schema_version") != SCHEMA_VERSION:
            raise ExportError(
                f"activation ranges of schema version {value.get('schema_version')}; expected {SCHEMA_VERSION}: "
                "record them again with --calibration DIR"
            )
        ranges = {k: (float(low), float(high)) for k, (low, high) in value["ranges"].items()}
        return cls(ranges, {k: tuple(v) for k, v in value["equalisation"].items()}, value["provenance"])

    def equalised(self, graph: Graph) -> Graph:
        """The graph with the recorded equalisation."""
        known = {node.output for node in graph.nodes}
        scales = {k: np.asarray(v, np.float32) for k, v in self.equalisation.items() if k in known}
        return equalise(graph, scales)


def grid(low: float, high: float) -> Affine:
    """The 8-bit grid of a range, snapped so that zero and both ends lie on it."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max(high - low, 1e-6) / (HIGH - LOW)))
    zero = round(LOW - low / scale)
    return Affine(scale, int(np.clip(zero, LOW, HIGH)))


def grids(graph: Graph, ranges: Mapping[str, tuple[float, float]], clip: float) -> dict[str, Affine]:
    """The grid of every tensor of an expanded graph.

    Tensors that share their integers share one grid, of the union of their ranges: a state and what feeds it, the
    parts of a concatenation, what is sliced, pooled or reshaped. Features span ±clip; gates and hidden states have
    the fixed grids of integer kernels.

    Raises:
        ExportError: a tensor has no range: the ranges belong to another model.
    """
    leader: dict[str, str] = {}

    def find(tensor: str) -> str:
        while (parent := leader.get(tensor, tensor)) != tensor:
            tensor = parent
        return tensor

    def tie(*tensors: str) -> None:
        for tensor in tensors[1:]:
            leader[find(tensor)] = find(tensors[0])

    fixed: dict[str, Affine] = {}
    for node in graph.nodes:
        if isinstance(node, Concat | Slice | MaxPool | Reshape):
            tie(node.output, *node.inputs)
        elif isinstance(node, Sigmoid):
            fixed[node.output] = UNIT
        elif isinstance(node, Tanh):
            fixed[node.output] = SIGNED
    for source, target in graph.states():
        tie(source.tensor, target.tensor)
    for port in graph.inputs:
        if port.tensor.startswith("hidden_"):
            fixed[port.tensor] = SIGNED
        if port.role == "features":
            fixed[port.tensor] = grid(-clip, clip)
    groups: dict[str, list[str]] = {}
    for tensor in graph.shapes:
        groups.setdefault(find(tensor), []).append(tensor)
    result: dict[str, Affine] = {}
    for members in groups.values():
        anchored = [fixed[m] for m in members if m in fixed]
        known = [ranges[m] for m in members if m in ranges]
        known += [
            (float(graph.constants[m].min()), float(graph.constants[m].max())) for m in members if m in graph.constants
        ]
        if not anchored and not known:
            raise ExportError(f"no activation range for {', '.join(members)}; the ranges belong to another model")
        chosen = anchored[0] if anchored else grid(min(k[0] for k in known), max(k[1] for k in known))
        result.update(dict.fromkeys(members, chosen))
    return result


def quantise(values: npt.ArrayLike, affine: Affine) -> npt.NDArray[np.int8]:
    """Real values to the nearest integers of a grid, ties to even, saturating."""
    scaled = np.rint(np.asarray(values, np.float64) / affine.scale) + affine.zero_point
    integers: npt.NDArray[np.int8] = np.clip(scaled, LOW, HIGH).astype(np.int8)
    return integers


@dataclass(frozen=True)
class QuantisedWeight:
    """Integer weights of a layer: symmetric int8 per output channel, and the int32 bias on the accumulator's grid.

    `axis` is the output-channel axis of `values`; `scales` has one entry for each channel.
    """

    values: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]
    axis: int
    bias: npt.NDArray[np.int32]

    def bias_scales(self, source: Affine) -> npt.NDArray[np.float32]:
        """The scale of each bias: input scale times weight scale."""
        return (np.float32(source.scale) * self.scales).astype(np.float32)


def weight_scales(weight: Array, axis: int) -> npt.NDArray[np.float32]:
    """Symmetric per-channel scales: the largest magnitude of a channel falls on 127."""
    others = tuple(a for a in range(weight.ndim) if a != axis)
    largest = np.abs(weight).max(axis=others)
    scales: npt.NDArray[np.float32] = np.maximum(largest / HIGH, 1e-12).astype(np.float32)
    return scales


def round_weight(weight: Array, scales: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.int8]:
    """Weights to integers, ties to even, within ±127."""
    shape = [1] * weight.ndim
    shape[axis] = -1
    return np.clip(np.rint(weight.astype(np.float64) / scales.reshape(shape)), -HIGH, HIGH).astype(np.int8)


def quantise_weight(weight: Array, bias: Array, axis: int, source: Affine) -> QuantisedWeight:
    """The integers of a layer whose input lies on the grid `source`.

    A channel of tiny weights gets a coarser scale where its bias would not fit 32 bits otherwise.
    """
    scales = np.maximum(weight_scales(weight, axis), np.abs(bias) / (source.scale * 2.0**30)).astype(np.float32)
    values = round_weight(weight, scales, axis)
    steps = (np.float32(source.scale) * scales).astype(np.float64)
    return QuantisedWeight(values, scales, axis, np.rint(bias / steps).astype(np.int32))
