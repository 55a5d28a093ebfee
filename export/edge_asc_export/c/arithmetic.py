"""Constants of integer kernels, as XNNPACK has them so that results are equal, and layouts of weights."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edge_asc.contract import Affine
from edge_asc.errors import ExportError
from edge_asc.quantisation import HIGH, LOW, quantise_weight
from edge_asc_export.c.text import float_literal
from edge_asc_export.graph import Array, Conv2D, Linear, Sigmoid, Tanh
from edge_asc_export.integer import MOST_NARROW, layer_scales, lowest_output

Table = npt.NDArray[np.generic]

# Outputs that a dense layer computes at once, and inputs that one dot product takes.
BLOCK = 16
GROUP = 4


def lookup_table(node: Sigmoid | Tanh, source: Affine, target: Affine) -> npt.NDArray[np.int8]:
    """Return the int8 results of a function of one value for the inputs from -128 to 127."""
    x = np.float32(source.scale) * (np.arange(LOW, HIGH + 1) - source.zero_point).astype(np.float32)
    exact = x.astype(np.float64)
    y = 1.0 / (1.0 + np.exp(-exact)) if isinstance(node, Sigmoid) else np.tanh(exact)
    integers: npt.NDArray[np.int8] = np.clip(np.rint(y / target.scale) + target.zero_point, LOW, HIGH).astype(np.int8)
    return integers


def pack_dense(node: Conv2D | Linear, source: Affine | None, target: Affine | None) -> tuple[dict[str, Table], str]:
    """Return the tables of a layer over all channels, and the fields of its C structure that follow them."""
    weight = node.weight[None, None].transpose(0, 1, 3, 2) if isinstance(node, Linear) else node.weight
    segments, outputs = weight.shape[1], weight.shape[3]
    values = weight.shape[0] * weight.shape[2]
    relu = isinstance(node, Conv2D) and node.relu
    if source is None or target is None:
        ordered = weight.transpose(1, 0, 2, 3).reshape(segments * values, outputs)
        beyond = (0, -outputs % BLOCK)
        tables: dict[str, Table] = {
            "weights": _blocks(np.pad(ordered, ((0, 0), beyond))),
            "bias": np.pad(node.bias, beyond),
        }
        return tables, f"{segments}, {values}, {outputs}, {_float_low(relu)}"
    integers = quantise_weight(weight, node.bias, 3, source)
    groups, padded = -(-values // GROUP), -(-outputs // GROUP) * GROUP
    ordered = np.zeros((segments, groups * GROUP, padded), np.int8)
    ordered[:, :values, :outputs] = integers.values.transpose(1, 0, 2, 3).reshape(segments, values, outputs)
    # (segment · group, 4, output) → blocks of outputs, each (segment · group, output, 4)
    grouped = ordered.reshape(segments * groups, GROUP, padded).transpose(0, 2, 1)
    blocks = [grouped[:, begin : begin + BLOCK].reshape(-1) for begin in range(0, padded, BLOCK)]
    tables = {
        "weights": np.concatenate(blocks),
        "bias": np.pad(_bias(integers.values, integers.bias, source), (0, padded - outputs)),
        "scales": np.pad(layer_scales(integers.scales, source, target), (0, padded - outputs)),
    }
    narrow = _is_narrow(integers.values, tables, outputs)
    rest = f"{segments}, {groups}, {outputs}, {target.zero_point}, {lowest_output(target, relu=relu)}, {narrow:d}"
    return tables, rest


def pack_depthwise(node: Conv2D, source: Affine | None, target: Affine | None) -> tuple[dict[str, Table], str]:
    """Return the tables of a depthwise layer, and the fields of its C structure that follow them."""
    taps, channels = math.prod(node.weight.shape[:2]), node.weight.shape[3]
    if source is None or target is None:
        tables: dict[str, Table] = {
            "weights": np.ascontiguousarray(node.weight.transpose(1, 0, 2, 3)),
            "bias": node.bias,
        }
        return tables, f"{taps}, {channels}, {_float_low(node.relu)}"
    integers = quantise_weight(node.weight, node.bias, 3, source)
    tables = {
        "weights": np.ascontiguousarray(integers.values.transpose(1, 0, 2, 3)),
        "bias": _bias(integers.values, integers.bias, source),
        "scales": layer_scales(integers.scales, source, target),
    }
    narrow = _is_narrow(integers.values, tables, channels)
    return tables, f"{taps}, {channels}, {target.zero_point}, {lowest_output(target, relu=node.relu)}, {narrow:d}"


def _blocks(weight: Array) -> Array:
    """Rearrange (value, output), padded to whole blocks, into blocks of outputs, each (value, output)."""
    outputs = weight.shape[1]
    return np.concatenate([weight[:, begin : begin + BLOCK].reshape(-1) for begin in range(0, outputs, BLOCK)])


def _bias(weight: npt.NDArray[np.int8], bias: npt.NDArray[np.int64], source: Affine) -> npt.NDArray[np.int32]:
    """Return the bias of sums over integers that still contain their zero point."""
    total = bias - source.zero_point * weight.astype(np.int64).sum(axis=(0, 1, 2))
    if np.abs(total).max(initial=0) >= 2**31:
        raise ExportError("a bias does not fit 32 bits; record the activation ranges again")
    integers: npt.NDArray[np.int32] = total.astype(np.int32)
    return integers


def _is_narrow(weight: npt.NDArray[np.int8], tables: dict[str, Table], outputs: int) -> bool:
    """Return whether no int8 inputs make a sum that leaves 16 bits when it is scaled."""
    wide = weight.astype(np.int64)
    highest = np.maximum(wide * HIGH, wide * LOW).sum(axis=(0, 1, 2)) + tables["bias"][:outputs]
    lowest = np.minimum(wide * HIGH, wide * LOW).sum(axis=(0, 1, 2)) + tables["bias"][:outputs]
    scaled = np.maximum(np.abs(highest), np.abs(lowest)) * tables["scales"][:outputs].astype(np.float64)
    return bool(scaled.max(initial=0.0) < MOST_NARROW)


def _float_low(relu: bool) -> str:
    return "0.0f" if relu else float_literal(float(np.finfo(np.float32).min))
