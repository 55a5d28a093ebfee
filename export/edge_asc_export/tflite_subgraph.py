"""Writes the operations of one graph as a TFLite subgraph and its signature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edge_asc.contract import INT16
from edge_asc.errors import ExportError
from edge_asc_export.graph import (
    Add,
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
    Port,
    Product,
    Reshape,
    Shape,
    Sigmoid,
    Slice,
    Tanh,
    Transpose,
    Unary,
    Unfold,
    View,
)
from edge_asc_export.signature import to_layout
from edge_asc_export.tflite_tensors import SubgraphBuilder

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import TensorMapT

FEW_CHANNELS = 16


class SubgraphWriter(SubgraphBuilder):
    """Writes one graph."""

    def write(self) -> None:
        """Append the subgraph and its signature to the model."""
        inputs = [self._write_input(port) for port in self.graph.inputs]
        for name, value in self.graph.constants.items():
            self.add_constant(name, value)
        for node in self.graph.nodes:
            self._write_node(node)
        outputs = [self._output(port.tensor, port.role) for port in self.graph.outputs]
        self.subgraph.inputs, self.subgraph.outputs = inputs, outputs
        definition = self.schema.SignatureDefT()
        definition.signatureKey = self.graph.name
        definition.inputs = self._maps([port.name for port in self.graph.inputs], inputs)
        definition.outputs = self._maps([port.name for port in self.graph.outputs], outputs)
        self.model.add_subgraph(self.subgraph, definition)

    def _maps(self, names: Sequence[str], indices: Sequence[int]) -> list[TensorMapT]:
        maps = []
        for name, index in zip(names, indices, strict=True):
            entry = self.schema.TensorMapT()
            entry.name, entry.tensorIndex = name, index
            maps.append(entry)
        return maps

    def _write_input(self, port: Port) -> int:
        tensor, name, role = port.tensor, port.name, port.role
        if port.int16:
            index = self.tensors[tensor] = self.add_tensor(name, self.shape_of(tensor), self.types.INT16)
            self.set_qparams(index, [INT16.scale], [INT16.zero_point])
            return index
        if role == "state" or tensor not in self.qparams:
            index = self.add_activation(tensor)
            self.subgraph.tensors[index].name = name
            return index
        exact = self.add_float(name, self.shape_of(tensor))
        self.add_operator("QUANTIZE", [exact], self.add_activation(tensor), version=self.version_of("QUANTIZE", True))
        return exact

    def _output(self, tensor: str, role: str) -> int:
        return self.tensors[tensor] if role == "state" else self.operand(tensor, integer=False)

    def _write_node(self, node: Node) -> None:
        integer = self.is_integer(node)
        inputs = [self.operand(tensor, integer=integer) for tensor in node.inputs]
        if integer or node.output not in self.qparams:
            self._compute(node, inputs, self.add_activation(node.output), integer)
            return
        exact = self.add_float(f"{node.output}_exact", self.shape_of(node.output))
        self._compute(node, inputs, exact, integer)
        version = self.version_of("QUANTIZE", True)
        self.add_operator("QUANTIZE", [exact], self.add_activation(node.output), version=version)

    def _compute(self, node: Node, inputs: list[int], output: int, integer: bool) -> None:
        options: object = None
        match node:
            case Conv2D():
                self._write_conv(node, inputs[0], output, integer)
                return
            case Linear():
                builtin, options = "FULLY_CONNECTED", self.options("FullyConnected")
                inputs = [*inputs, *self.add_weights(node, node.weight, 0)]
            case Add():
                relu = self._activation_function(node.relu)
                builtin, options = "ADD", self.options("Add", fusedActivationFunction=relu, potScaleInt16=False)
            case Multiply():
                builtin, options = "MUL", self.options("Mul")
            case Sigmoid():
                builtin = "LOGISTIC"
            case Tanh():
                builtin = "TANH"
            case Concat():
                axis = self._axis(node.axis, node.output)
                builtin, options = "CONCATENATION", self.options("Concatenation", axis=axis)
            case Slice():
                builtin, options = "SLICE", self.options("Slice")
                inputs = [*inputs, *self._bounds(node)]
            case MaxPool():
                sizes = dict.fromkeys(("strideH", "strideW", "filterHeight", "filterWidth"), 2)
                builtin, options = "MAX_POOL_2D", self.options("Pool2D", padding=self.schema.Padding.VALID, **sizes)
            case Reshape() | Unfold() | Fold() | View() | Columns():
                if isinstance(node, Fold) and any(node.padding):
                    inputs = [self._pad(node, inputs[0], [node.padding, (0, 0)], integer)]
                shape = np.array(self.shape_of(node.output), np.int32)
                builtin, options = "RESHAPE", self.options("Reshape", newShape=shape)
                inputs = [*inputs, self.add_index(shape)]
            case _:
                self._write_front_end(node, inputs, output)
                return
        self.add_operator(builtin, inputs, output, options, version=self.version_of(builtin, integer))

    def _write_front_end(self, node: Node, inputs: list[int], output: int) -> None:
        """Append an operation of the front end, whose tensors are float."""
        match node:
            case Product():
                weight = self.add_float(f"{node.output}_weight", node.weight.shape, node.weight)
                options = self.options("FullyConnected", keepNumDims=len(self.shape_of(node.output)) > 2)
                self.add_operator("FULLY_CONNECTED", [*inputs, weight], output, options, version=6)
            case Transpose():
                axes = self.add_index([0, 1, 3, 2])
                self.add_operator("TRANSPOSE", [*inputs, axes], output, self.options("Transpose"))
            case Log():
                self.add_operator("LOG", inputs, output)
            case Clip():
                low, high = (
                    self.add_float(f"bound_{v:g}", (1,), np.array([v], np.float32)) for v in (node.low, node.high)
                )
                bounded = self.add_float(f"{node.output}_bounded", self.shape_of(node.output))
                options = self.options("MaximumMinimum")
                self.add_operator("MAXIMUM", [*inputs, low], bounded, options)
                self.add_operator("MINIMUM", [bounded, high], output, options)
            case FromInt16():
                self.add_operator("DEQUANTIZE", inputs, output, version=3)
            case _:
                raise ExportError(f"a {type(node).__name__} has no TFLite form")

    def _activation_function(self, relu: bool) -> int:
        kinds = self.schema.ActivationFunctionType
        return int(kinds.RELU if relu else kinds.NONE)

    def _axis(self, axis: int, tensor: str) -> int:
        return (2, 1, 3)[axis] if len(self.graph.shapes[tensor]) == 3 else axis

    def _bounds(self, node: Slice) -> tuple[int, int]:
        shape = self.shape_of(node.input)
        axis = self._axis(node.axis, node.input)
        begin, size = np.zeros(len(shape), np.int32), np.array(shape, np.int32)
        begin[axis], size[axis] = node.begin, node.size
        return self.add_index(begin), self.add_index(size)

    def _write_conv(self, node: Conv2D, source: int, output: int, integer: bool) -> None:
        source, padding = self._pad_conv(node, source, integer)
        settings: dict[str, object] = {
            "padding": padding,
            "strideW": node.stride[0],
            "strideH": _time_stride(self.graph, node),
            "dilationHFactor": 1,
            "dilationWFactor": 1,
            "fusedActivationFunction": self._activation_function(node.relu),
        }
        if node.depthwise:
            builtin, weight = "DEPTHWISE_CONV_2D", node.weight.transpose(2, 1, 0, 3)  # (1, time, mel, channel)
            options = self.options("DepthwiseConv2D", depthMultiplier=1, **settings)
        else:
            builtin, weight = "CONV_2D", node.weight.transpose(3, 1, 0, 2)  # (outputs, time, mel, inputs)
            options = self.options("Conv2D", **settings)
        weights = self.add_weights(node, np.ascontiguousarray(weight), 3 if node.depthwise else 0)
        version = 5 if self.is_dynamic(node) else self.version_of(builtin, integer)
        self.add_operator(builtin, [source, *weights], output, options, version=version)

    def _pad_conv(self, node: Conv2D, source: int, integer: bool) -> tuple[int, int]:
        """Return the input of a convolution, padded where TFLite's SAME would put zeros elsewhere, and its padding."""
        if not any(map(any, node.padding)):
            return source, self.schema.Padding.VALID
        needed = find_padding(self.graph, node)
        if needed is None:
            return source, self.schema.Padding.SAME
        return self._pad(node, source, needed, integer), self.schema.Padding.VALID

    def _pad(self, node: Unary, source: int, widths: Sequence[tuple[int, int]], integer: bool) -> int:
        """Return the input of a node with zeros before and after on the mel and the time axis.

        Where there are few channels the zeros are concatenated: XNNPACK's padding takes a hundred instructions for each
        position, however few channels there are.
        """
        shape = list(self.graph.shapes[node.input])
        if shape[2] >= FEW_CHANNELS:
            padded = [size + sum(around) for size, around in zip(shape, (*widths, (0, 0)), strict=True)]
            target = self._like(node.input, f"{node.output}_padded", tuple(padded), integer)
            around = self.add_index(np.array([(0, 0), *reversed(widths), (0, 0)], np.int32))
            version = self.version_of("PAD", integer)
            self.add_operator("PAD", [source, around], target, self.options("Pad"), version=version)
            return target
        for axis, (before, after) in enumerate(widths):
            parts = [source]
            for count, where in ((before, 0), (after, 2)):
                if count:
                    zeros = (*shape[:axis], count, *shape[axis + 1 :])
                    parts.insert(where, self.add_zeros(node.input, to_layout(zeros, "channels_last"), integer))
            if len(parts) == 1:
                continue
            shape[axis] += before + after
            source = self._like(node.input, f"{node.output}_padded_{axis}", tuple(shape), integer)
            options = self.options("Concatenation", axis=self._axis(axis, node.input))
            version = self.version_of("CONCATENATION", integer)
            self.add_operator("CONCATENATION", parts, source, options, version=version)
        return source

    def _like(self, tensor: str, name: str, shape: Shape, integer: bool) -> int:
        """Append an activation of a (mel, time, channel) shape, quantised as a graph's tensor."""
        size = to_layout(shape, "channels_last")
        return self.add_activation(tensor, name=name, shape=size) if integer else self.add_float(name, size)


def find_padding(graph: Graph, node: Conv2D) -> list[tuple[int, int]] | None:
    """Return the zeros before and after the mel and the time axis that a convolution needs an operation for.

    None where it has no padding, and where TFLite's SAME puts zeros in the same places.
    """
    if not any(map(any, node.padding)):
        return None
    shape, result = graph.shapes[node.input], graph.shapes[node.output]
    strides = (node.stride[0], _time_stride(graph, node))
    same = all(
        _same_padding(shape[axis], node.weight.shape[axis], strides[axis]) == (node.padding[axis][0], result[axis])
        for axis in (0, 1)
    )
    if same:
        return None
    needed = []
    for axis in (0, 1):
        reach = (result[axis] - 1) * strides[axis] + node.weight.shape[axis]
        before = node.padding[axis][0]
        needed.append((before, max(0, reach - shape[axis] - before)))
    return needed


def _time_stride(graph: Graph, node: Conv2D) -> int:
    """Return the stride over time; where one column comes out, any is right, and SAME pads none with the longest."""
    columns, results = graph.shapes[node.input][1], graph.shapes[node.output][1]
    return columns if results == 1 and not any(node.padding[1]) else node.stride[1]


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the zeros before the first element, and the output size, of TFLite's SAME padding."""
    result = -(-size // stride)
    total = max(0, (result - 1) * stride + kernel - size)
    return total // 2, result
