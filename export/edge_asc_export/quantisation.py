"""Integer arithmetic that both writers and the simulation share: grids of activations, integers of weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_asc.contract import Affine
from edge_asc_export.graph import Array

LOW, HIGH = -128, 127
HIGH16 = 32767


def limits(*, wide: bool) -> tuple[int, int]:
    """The smallest and the largest integer of activations, of 8 bits or of 16."""
    return (-HIGH16 - 1, HIGH16) if wide else (LOW, HIGH)


def asymmetric(low: float, high: float) -> Affine:
    """The 8-bit grid of a range, snapped so that zero and both ends lie on it."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max(high - low, 1e-6) / (HIGH - LOW)))
    zero = round(LOW - low / scale)
    return Affine(scale, int(np.clip(zero, LOW, HIGH)))


def symmetric(low: float, high: float) -> Affine:
    """The 16-bit grid of a range: as far below zero as above."""
    return Affine(float(np.float32(max(-low, high, 1e-6) / HIGH16)), 0)


def quantise(values: npt.ArrayLike, affine: Affine, *, wide: bool = False) -> npt.NDArray[np.int16]:
    """Real values to the nearest integers of an 8-bit grid, or of a `wide` one of 16 bits; ties to even, saturating."""
    scaled = np.rint(np.asarray(values, np.float64) / affine.scale) + affine.zero_point
    integers: npt.NDArray[np.int16] = np.clip(scaled, *limits(wide=wide)).astype(np.int16)
    return integers


@dataclass(frozen=True)
class QuantisedWeight:
    """Integer weights of a layer: symmetric int8 per output channel, and the bias on the accumulator's grid.

    `axis` is the output-channel axis of `values`; `scales` has one entry for each channel.
    """

    values: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]
    axis: int
    bias: npt.NDArray[np.int64]

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
    return QuantisedWeight(values, scales, axis, np.rint(bias / steps).astype(np.int64))
