"""Integer operations as XNNPACK computes them, on real values in double precision: the same integers, bit by bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edge_asc.contract import Affine
from edge_asc.errors import ExportError
from edge_asc.quantisation import HIGH, LOW, quantise_weight
from edge_asc_export.graph import Add, Conv2D, Graph, Linear, Multiply, Node

# Bits of the multipliers of a sum.
SUM_BITS = 20
# What stays below it fits 16 bits.
MOST_NARROW = 2**15 - 1


class AddConstants(NamedTuple):
    """Constants of a sum, in the order of an add_int8_layer in C."""

    left: int
    right: int
    bias: int
    shift: int
    zero_point: int
    low: int
    narrow: int


def add_constants(left: Affine, right: Affine, target: Affine, *, relu: bool) -> AddConstants:
    """Return the fixed-point constants of a sum: the larger multiplier has SUM_BITS + 1 bits.

    Raises:
        ExportError: the scales differ too much.
    """
    ratios = [np.float32(each.scale) / np.float32(target.scale) for each in (left, right)]
    shift = SUM_BITS - (math.frexp(float(max(ratios)))[1] - 1)
    if not 12 < shift <= 30:
        raise ExportError(f"a sum scales by {max(ratios):g}; expected 2^-10 to 2^8")
    multipliers = [round(math.ldexp(float(ratio), shift)) for ratio in ratios]
    bias = (1 << (shift - 1)) - multipliers[0] * left.zero_point - multipliers[1] * right.zero_point
    most = abs(bias) - LOW * sum(multipliers)
    low, narrow = lowest_output(target, relu=relu), int(most >> shift < MOST_NARROW)
    return AddConstants(multipliers[0], multipliers[1], bias, shift, target.zero_point, low, narrow)


def layer_scales(weight: npt.NDArray[np.float32], source: Affine, target: Affine) -> npt.NDArray[np.float32]:
    """Return what the sums of a layer are multiplied by, from the scales of its weights."""
    return (np.float32(source.scale) * weight / np.float32(target.scale)).astype(np.float32)


def product_scale(left: Affine, right: Affine, target: Affine) -> np.float32:
    """Return what the product of two integers is multiplied by."""
    return np.float32(np.float32(left.scale) * np.float32(right.scale) / np.float32(target.scale))


def lowest_output(target: Affine, *, relu: bool) -> int:
    """Return the smallest integer of a result."""
    return max(LOW, target.zero_point) if relu else LOW


class IntegerKernels:
    """Rounds the exact results of a graph's operations as XNNPACK's int8 kernels do.

    Args:
        graph: expanded.
        qparams: of its integer tensors, int8.
    """

    def __init__(self, graph: Graph, qparams: Mapping[str, Affine]) -> None:
        self.qparams = qparams
        integer = [node for node in graph.nodes if all(name in qparams for name in (*node.inputs, node.output))]
        self._layers = {node.output: self._layer(node) for node in integer if isinstance(node, Conv2D | Linear)}
        self._sums = {node.output: self._sum(node) for node in integer if isinstance(node, Add)}

    def quantise(self, name: str, value: Tensor) -> Tensor:
        """Round float values to the integers of a tensor, in single precision; a float tensor stays as it is."""
        qparams = self.qparams.get(name)
        if qparams is None:
            return value
        inverse = float(np.float32(1.0) / np.float32(qparams.scale))
        return self._clamp(name, torch.round(value.float() * inverse))

    def finish(self, node: Node, values: Mapping[str, Tensor], exact: Tensor) -> Tensor:
        """Return the result of an operation.

        Args:
            node: the operation.
            values: of its inputs, by name; those of integer tensors are rounded.
            exact: the operation's result on these values in float64.
        """
        name = node.output
        if name not in self.qparams:
            return exact.float().double() if isinstance(node, Multiply | Add) else exact
        if any(source not in self.qparams for source in node.inputs):
            return self.quantise(name, exact)
        if layer := self._layers.get(name):
            steps, scales = layer
            return self._clamp(name, torch.round(torch.round(exact / steps).float() * scales))
        if isinstance(node, Add) and (constants := self._sums[name]):
            left, right = self._integers(node.left, values), self._integers(node.right, values)
            rounded = (left * constants.left + right * constants.right + constants.bias) >> constants.shift
            return self._clamp(name, rounded.clamp_min(0) if node.relu else rounded)
        if isinstance(node, Multiply):
            operands = self.qparams[node.left], self.qparams[node.right]
            product = torch.round(exact / (operands[0].scale * operands[1].scale)).float()
            return self._clamp(name, torch.round(product * float(product_scale(*operands, self.qparams[name]))))
        qparams = self.qparams[name]
        return self._clamp(name, torch.round(exact / qparams.scale))

    def _layer(self, node: Conv2D | Linear) -> tuple[Tensor, Tensor]:
        """Return the value of one integer of each channel's sums, and what they are multiplied by."""
        source, target = self.qparams[node.input], self.qparams[node.output]
        weight = quantise_weight(node.weight, node.bias, 3 if isinstance(node, Conv2D) else 0, source)
        shape = (-1, 1, 1) if isinstance(node, Conv2D) else (-1,)
        steps = torch.from_numpy(weight.bias_scales(source).astype(np.float64)).reshape(shape)
        return steps, torch.from_numpy(layer_scales(weight.scales, source, target)).reshape(shape)

    def _sum(self, node: Add) -> AddConstants | None:
        """Return the constants of a sum; None where XNNPACK does not take it."""
        operands = self.qparams[node.left], self.qparams[node.right]
        try:
            return add_constants(*operands, self.qparams[node.output], relu=node.relu)
        except ExportError:
            return None

    def _integers(self, name: str, values: Mapping[str, Tensor]) -> Tensor:
        qparams = self.qparams[name]
        return (torch.round(values[name] / qparams.scale) + qparams.zero_point).long()

    def _clamp(self, name: str, integers: Tensor) -> Tensor:
        """Return the values of integers without their zero point."""
        qparams = self.qparams[name]
        return ((integers.double() + qparams.zero_point).clamp(LOW, HIGH) - qparams.zero_point) * qparams.scale
