"""Integer arithmetic of exports and adapted artefacts: quantisation parameters of tensors, integer weights.

Activations have one scale and one zero point a tensor (asymmetric int8, or symmetric int16); weights are symmetric int8
with one scale for each output channel; biases are int32 on the scale of the accumulator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_asc.frontend import Array
from edge_asc.tensors import Affine

LOW, HIGH = -128, 127
HIGH16 = 32767


def integer_limits(*, int16: bool) -> tuple[int, int]:
    """Return the smallest and the largest integer of int8 or int16 activations."""
    return (-HIGH16 - 1, HIGH16) if int16 else (LOW, HIGH)


def asymmetric(low: float, high: float) -> Affine:
    """Return the int8 quantisation parameters of a range, adjusted so that zero is an integer."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max(high - low, 1e-6) / (HIGH - LOW)))
    zero = round(LOW - low / scale)
    return Affine(scale, int(np.clip(zero, LOW, HIGH)))


def symmetric(low: float, high: float) -> Affine:
    """Return the int16 quantisation parameters of a range: as far below zero as above."""
    return Affine(float(np.float32(max(-low, high, 1e-6) / HIGH16)), 0)


def quantise(values: npt.ArrayLike, qparams: Affine, *, int16: bool = False) -> npt.NDArray[np.int16]:
    """Round float values to the nearest int8 or int16; ties to even, saturating."""
    scaled = np.rint(np.asarray(values, np.float64) / qparams.scale) + qparams.zero_point
    integers: npt.NDArray[np.int16] = np.clip(scaled, *integer_limits(int16=int16)).astype(np.int16)
    return integers


@dataclass(frozen=True)
class QuantisedWeight:
    """Integer weights of a layer: symmetric int8 per output channel, and the bias on the accumulator's scale.

    Attributes:
        values: in the shape of the float weights.
        scales: one for each output channel.
        axis: the output-channel axis of `values`.
        bias: within int32.
    """

    values: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float32]
    axis: int
    bias: npt.NDArray[np.int64]

    def bias_scales(self, source: Affine) -> npt.NDArray[np.float32]:
        """Return the scale of each bias: input scale times weight scale."""
        return (np.float32(source.scale) * self.scales).astype(np.float32)


def weight_scales(weight: Array, axis: int) -> npt.NDArray[np.float32]:
    """Return symmetric per-channel scales: the largest magnitude of a channel becomes 127."""
    others = tuple(a for a in range(weight.ndim) if a != axis)
    largest = np.abs(weight).max(axis=others)
    scales: npt.NDArray[np.float32] = np.maximum(largest / HIGH, 1e-12).astype(np.float32)
    return scales


def round_weight(weight: Array, scales: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.int8]:
    """Round weights to integers within ±127; ties to even."""
    shape = [1] * weight.ndim
    shape[axis] = -1
    return np.clip(np.rint(weight.astype(np.float64) / scales.reshape(shape)), -HIGH, HIGH).astype(np.int8)


def quantise_weight(weight: Array, bias: Array, axis: int, source: Affine) -> QuantisedWeight:
    """Return the integers of a layer whose input has the quantisation parameters `source`.

    A channel of tiny weights gets a larger scale where its bias would not fit 32 bits otherwise.
    """
    scales = np.maximum(weight_scales(weight, axis), np.abs(bias) / (source.scale * 2.0**30)).astype(np.float32)
    values = round_weight(weight, scales, axis)
    steps = (np.float32(source.scale) * scales).astype(np.float64)
    return QuantisedWeight(values, scales, axis, np.rint(bias / steps).astype(np.int64))
