"""The export form computed in PyTorch, over many streams at once: for calibration, parity and integer simulation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from edge_asc.contract import INT16, Affine
from edge_asc.quantisation import integer_limits, quantise_weight
from edge_asc_export.graph import (
    Add,
    Array,
    Clip,
    Columns,
    Concat,
    Conv2D,
    Fold,
    FromInt16,
    Graph,
    Linear,
    Log,
    MaxPool,
    Multiply,
    Node,
    Product,
    Reshape,
    Sigmoid,
    Slice,
    Tanh,
    Transpose,
    Unfold,
    View,
)
from edge_asc_export.integer import IntegerKernels
from edge_asc_export.passes.expand_gru import expand_gru
from edge_asc_export.plan import Plan

Observer = Callable[[str, Tensor], None]


class Simulation:
    """Runs a graph step by step on batches of streams.

    With a `plan` every tensor, weight and bias is rounded to its integers. In float64, int8 operations round as
    XNNPACK's do, and give its integers bit by bit; otherwise results are rounded once. The graph has to be equalised
    by the plan; `qparams` are the plan's and those of the tensors that passes add.

    Tensors of the convolutional part are (stream, channel, mel, time), rows are (stream, row, unit), blocks
    (stream, 1, row, line, unit).
    """

    def __init__(
        self,
        graph: Graph,
        *,
        dtype: torch.dtype = torch.float32,
        plan: Plan | None = None,
        qparams: Mapping[str, Affine] | None = None,
    ) -> None:
        self.graph, self.dtype = expand_gru(graph), dtype
        self.qparams: Mapping[str, Affine] = qparams or (plan.qparams if plan else {})
        self.limits = integer_limits(int16=plan is not None and plan.int16)
        exact = dtype == torch.float64 and plan is not None and not plan.int16
        self._kernels = IntegerKernels(self.graph, self.qparams) if exact else None
        self._weights = {node.output: self._weight(node) for node in self.graph.nodes}
        self._constants = {
            name: self.round(name, self._constant(value)) for name, value in self.graph.constants.items()
        }

    def initial(self, streams: int) -> dict[str, Tensor]:
        """Return zero states for `streams` fresh streams, by input name."""
        result = {}
        for port, _ in self.graph.states():
            shape = self.graph.shapes[port.tensor]
            full = (shape[2], shape[0], shape[1]) if len(shape) == 3 else shape
            result[port.name] = torch.zeros(streams, *full, dtype=self.dtype)
        return result

    def __call__(self, inputs: Mapping[str, Tensor], observe: Observer | None = None) -> dict[str, Tensor]:
        """Compute outputs by name from inputs by name; `observe(tensor name, value)` is called for every tensor."""
        values = dict(self._constants)
        for port in self.graph.inputs:
            value = inputs[port.name].to(self.dtype)
            round_input = self._kernels.quantise if self._kernels else self.round
            values[port.tensor] = round_input(port.tensor, value)
            if observe:
                observe(port.tensor, values[port.tensor])
        for node in self.graph.nodes:
            value = self._compute(node, values)
            value = self._kernels.finish(node, values, value) if self._kernels else self.round(node.output, value)
            values[node.output] = value
            if observe:
                observe(node.output, value)
        return {port.name: values[port.tensor] for port in self.graph.outputs}

    def stream(self, features: Tensor, observe: Observer | None = None) -> Tensor:
        """Stream log-mel (stream, 1, mel, time) from fresh states; return logits (stream, step, class)."""
        state, logits = self.initial(len(features)), []
        for chunk in torch.split(features, self.graph.frames, dim=3):
            if chunk.shape[3] < self.graph.frames:
                break
            outputs = self({"features": chunk, **state}, observe)
            logits.append(outputs["logits"][:, 0])
            state = {source.name: outputs[target.name] for source, target in self.graph.states()}
        return torch.stack(logits, dim=1)

    def round(self, name: str, value: Tensor) -> Tensor:
        """Round a value to the integers of a tensor; a float tensor stays as it is."""
        qparams = self.qparams.get(name)
        if qparams is None:
            return value
        integers = torch.round(value / qparams.scale) + qparams.zero_point
        return (integers.clamp(*self.limits) - qparams.zero_point) * qparams.scale

    def _constant(self, value: Array) -> Tensor:
        tensor = torch.from_numpy(value).to(self.dtype)
        return (tensor.permute(2, 0, 1) if tensor.ndim == 3 else tensor)[None]

    def _weight(self, node: Node) -> tuple[Tensor, Tensor] | None:
        if not isinstance(node, Conv2D | Linear):
            return None
        weight, bias = node.weight.astype(np.float64), node.bias.astype(np.float64)
        axis = 3 if isinstance(node, Conv2D) else 0
        if node.input in self.qparams and node.output in self.qparams:
            integers = quantise_weight(node.weight, node.bias, axis, self.qparams[node.input])
            shape = [1] * weight.ndim
            shape[axis] = -1
            weight = integers.values * integers.scales.astype(np.float64).reshape(shape)
            steps = integers.bias_scales(self.qparams[node.input]).astype(np.float64)
            bias = integers.bias.astype(np.float64) * steps
        tensor = torch.from_numpy(weight).to(self.dtype)
        if isinstance(node, Conv2D):
            tensor = tensor.permute(3, 2, 0, 1).contiguous()
        return tensor, torch.from_numpy(bias).to(self.dtype)

    def _compute(self, node: Node, values: Mapping[str, Tensor]) -> Tensor:
        x = values[node.inputs[0]]
        match node:
            case Conv2D():
                weight, bias = self._weights[node.output] or (x, x)
                (top, bottom), (left, right) = node.padding
                groups = x.shape[1] if node.depthwise else 1
                if top == bottom and left == right:
                    y = F.conv2d(x, weight, bias, node.stride, (top, left), groups=groups)
                else:
                    y = F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, node.stride, groups=groups)
                return F.relu(y) if node.relu else y
            case Linear():
                weight, bias = self._weights[node.output] or (x, x)
                return F.linear(x, weight, bias)
            case Add():
                y = x + values[node.right]
                return F.relu(y) if node.relu else y
            case Multiply():
                return x * values[node.right]
            case Concat():
                return torch.cat([values[part] for part in node.parts], dim=_axis(node.axis, x))
            case Slice():
                return x.narrow(_axis(node.axis, x), node.begin, node.size)
            case MaxPool():
                return F.max_pool2d(x, 2)
            case Sigmoid():
                return torch.sigmoid(x)
            case Tanh():
                return torch.tanh(x)
            case Reshape():
                return x.flatten(2).transpose(1, 2)
            case Fold():
                padded = F.pad(x, (0, 0, *node.padding))
                streams, channels, mels, time = padded.shape
                blocks = padded.reshape(streams, channels, mels // node.factor, node.factor, time)
                return blocks.permute(0, 3, 1, 2, 4).flatten(1, 2)
            case Unfold():
                streams, channels, mels, time = x.shape
                rows = x.reshape(streams, node.factor, channels // node.factor, mels, time)
                return rows.permute(0, 2, 3, 1, 4).flatten(2, 3)
            case _:
                return self._compute_front_end(node, x)

    def _compute_front_end(self, node: Node, x: Tensor) -> Tensor:
        match node:
            case Product():
                return x @ torch.from_numpy(node.weight).to(self.dtype).T
            case View():
                return x.reshape(len(x), *node.shape)
            case Transpose():
                return x.transpose(-1, -2)
            case Columns():
                return x.transpose(1, 2)[:, None]
            case Log():
                return torch.log(x)
            case Clip():
                return x.clamp(node.low, node.high)
            case FromInt16():
                return x * INT16.scale
            case _:
                raise NotImplementedError(type(node).__name__)


def _axis(axis: int, value: Tensor) -> int:
    return (2, 3, 1)[axis] if value.ndim == 4 else axis + 1
