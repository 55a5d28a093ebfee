"""Tensors and operators of one TFLite subgraph."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from edge_asc.quantisation import quantise, quantise_weight, round_weight, weight_scales
from edge_asc_export.graph import Array, Conv2D, Linear, Node, Shape
from edge_asc_export.pipeline import Lowered
from edge_asc_export.signature import to_layout
from edge_asc_export.tflite_packing import shared_qparams

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import SignatureDefT, SubGraphT

# The first version of an operation that takes int8 and int16 activations, where that is not 2 and 1.
INT8_VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "QUANTIZE": 1, "RESHAPE": 1}
INT16_VERSIONS = {
    "ADD": 4,
    "CONCATENATION": 3,
    "CONV_2D": 4,
    "DEPTHWISE_CONV_2D": 4,
    "DEQUANTIZE": 3,
    "FULLY_CONNECTED": 7,
    "LOGISTIC": 3,
    "MAX_POOL_2D": 3,
    "MUL": 4,
    "PAD": 3,
    "QUANTIZE": 2,
    "SLICE": 4,
    "TANH": 3,
}


class Model(Protocol):
    """The parts of a file that its subgraphs share."""

    schema: ModuleType

    def add_buffer(self, values: npt.NDArray[np.generic]) -> int:
        """Return the index of a buffer with these bytes."""

    def add_code(self, builtin: int, version: int) -> int:
        """Return the index of an operator code."""

    def add_subgraph(self, subgraph: SubGraphT, signature: SignatureDefT) -> None:
        """Append a subgraph and the signature that runs it."""


class SubgraphBuilder:
    """Collects the tensors and operators of a subgraph.

    A tensor of the graph that has quantisation parameters is an integer tensor of the file, with a float one beside it
    where a float operation reads it. Tensors of the file are known by their index.
    """

    def __init__(self, model: Model, lowered: Lowered) -> None:
        self.model, self.schema = model, model.schema
        self.graph, self.qparams = lowered.graph, lowered.qparams
        self.scheme, self.int16 = lowered.plan.scheme, lowered.plan.int16
        self.types = self.schema.TensorType
        self.subgraph = self.schema.SubGraphT()
        self.subgraph.name = self.graph.name
        self.subgraph.tensors, self.subgraph.operators = [], []
        self.tensors: dict[str, int] = {}
        self.floats: dict[str, int] = {}

    def shape_of(self, tensor: str) -> Shape:
        """Return the shape of a graph's tensor in the file."""
        return to_layout(self.graph.shapes[tensor], "channels_last")

    def is_integer(self, node: Node) -> bool:
        """Whether an operation computes in integers."""
        return all(tensor in self.qparams for tensor in (node.output, *node.inputs))

    def is_dynamic(self, node: Node) -> bool:
        """Whether an operation quantises its input at each step."""
        return self.scheme.activations == "dynamic" and isinstance(node, Conv2D) and not node.depthwise

    def version_of(self, builtin: str, integer: bool) -> int:
        """Return the first version of an operation that takes int8, int16 or float activations."""
        if not integer:
            return 1
        return INT16_VERSIONS.get(builtin, 1) if self.int16 else INT8_VERSIONS.get(builtin, 2)

    def add_operator(
        self, builtin: str, inputs: Sequence[int], output: int, options: object = None, *, version: int = 1
    ) -> None:
        """Append an operator; `options` is an object of the schema."""
        operator = self.schema.OperatorT()
        operator.opcodeIndex = self.model.add_code(getattr(self.schema.BuiltinOperator, builtin), version)
        operator.inputs, operator.outputs = list(inputs), [output]
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, kind)
            operator.builtinOptions = options
        self.subgraph.operators.append(operator)

    def options(self, kind: str, **fields: object) -> object:
        """Return the schema's options of an operation, with these fields."""
        options: object = getattr(self.schema, f"{kind}OptionsT")()
        for name, value in fields.items():
            setattr(options, name, value)
        return options

    def add_tensor(self, name: str, shape: Shape, kind: int, data: npt.NDArray[np.generic] | None = None) -> int:
        """Append a tensor; with `data` it is a constant."""
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, np.array(shape, np.int32), kind
        tensor.hasRank = True
        tensor.buffer = 0 if data is None else self.model.add_buffer(data)
        self.subgraph.tensors.append(tensor)
        return len(self.subgraph.tensors) - 1

    def add_float(self, name: str, shape: Shape, data: Array | None = None) -> int:
        """Append a float tensor; with `data` it is a constant."""
        return self.add_tensor(name, shape, self.types.FLOAT32, data)

    def set_qparams(self, index: int, scales: Sequence[float], zeros: Sequence[int], axis: int = 0) -> None:
        """Set the quantisation parameters of a tensor: one pair, or one for each element of `axis`."""
        self.subgraph.tensors[index].quantization = shared_qparams()(
            scale=np.array(scales, np.float32), zeroPoint=np.array(zeros, np.int64), quantizedDimension=axis
        )

    def add_activation(self, tensor: str, *, name: str | None = None, shape: Shape | None = None) -> int:
        """Append a tensor for a graph's tensor, or one of another name and shape with its quantisation parameters."""
        qparams = self.qparams.get(tensor)
        index = self.add_tensor(name or tensor, shape or self.shape_of(tensor), self._activation_type(tensor))
        if qparams:
            self.set_qparams(index, [qparams.scale], [qparams.zero_point])
        if name is None:
            self.tensors[tensor] = index
        return index

    def add_constant(self, name: str, value: Array) -> None:
        """Append a graph's constant."""
        value = value.transpose(1, 0, 2) if value.ndim == 3 else value
        if qparams := self.qparams.get(name):
            self.tensors[name] = self._add_integers(name, quantise(value, qparams, int16=self.int16), like=name)
        else:
            self.tensors[name] = self.add_float(name, self.shape_of(name), value.astype(np.float32))

    def add_zeros(self, tensor: str, shape: Shape, integer: bool) -> int:
        """Append a constant of zeros with the quantisation parameters of a graph's tensor."""
        name = f"zeros_{len(self.subgraph.tensors)}"
        if not integer:
            return self.add_float(name, shape, np.zeros(shape, np.float32))
        return self._add_integers(name, np.full(shape, self.qparams[tensor].zero_point, np.int16), like=tensor)

    def add_index(self, values: Sequence[int] | npt.NDArray[np.int32]) -> int:
        """Append a constant of integers that an operation takes as a parameter."""
        data = np.array(values, np.int32)
        return self.add_tensor(f"index_{len(self.subgraph.tensors)}", data.shape, self.types.INT32, data)

    def operand(self, tensor: str, *, integer: bool) -> int:
        """Return a graph's tensor as integer operations read it, or in float."""
        if integer or tensor not in self.qparams:
            return self.tensors[tensor]
        if tensor not in self.floats:
            self.floats[tensor] = self.add_float(f"{tensor}_real", self.shape_of(tensor))
            version = self.version_of("DEQUANTIZE", True)
            self.add_operator("DEQUANTIZE", [self.tensors[tensor]], self.floats[tensor], version=version)
        return self.floats[tensor]

    def add_weights(self, node: Conv2D | Linear, weight: Array, axis: int) -> list[int]:
        """Append a layer's weight and bias; `axis` is the output-channel axis of `weight`."""
        name, bias_shape = node.output, node.bias.shape
        if self.is_integer(node):
            source = self.qparams[node.input]
            integers = quantise_weight(weight, node.bias, axis, source)
            zeros = [0] * len(integers.scales)
            w = self.add_tensor(f"{name}_weight", weight.shape, self.types.INT8, integers.values)
            self.set_qparams(w, list(integers.scales), zeros, axis)
            kind, dtype = (self.types.INT64, np.int64) if self.int16 else (self.types.INT32, np.int32)
            b = self.add_tensor(f"{name}_bias", bias_shape, kind, integers.bias.astype(dtype))
            self.set_qparams(b, list(integers.bias_scales(source)), zeros)
            return [w, b]
        if self.is_dynamic(node):
            scales = weight_scales(weight, axis)
            values = round_weight(weight, scales, axis)
            w = self.add_tensor(f"{name}_weight", weight.shape, self.types.INT8, values)
            self.set_qparams(w, list(scales), [0] * len(scales), axis)
        elif self.scheme.weights == "float16":
            half = self.add_tensor(f"{name}_half", weight.shape, self.types.FLOAT16, weight.astype(np.float16))
            w = self.add_float(f"{name}_weight", weight.shape)
            self.add_operator("DEQUANTIZE", [half], w, version=3)
        else:
            w = self.add_float(f"{name}_weight", weight.shape, weight.astype(np.float32))
        return [w, self.add_float(f"{name}_bias", bias_shape, node.bias.astype(np.float32))]

    def _add_integers(self, name: str, values: npt.NDArray[np.int16], *, like: str) -> int:
        """Append a constant of integers with the quantisation parameters of a graph's tensor."""
        data, qparams = values.astype(np.int16 if self.int16 else np.int8), self.qparams[like]
        shape = self.shape_of(name) if name == like else data.shape
        index = self.add_tensor(name, shape, self._activation_type(like), data)
        self.set_qparams(index, [qparams.scale], [qparams.zero_point])
        return index

    def _activation_type(self, tensor: str) -> int:
        if tensor not in self.qparams:
            return int(self.types.FLOAT32)
        return int(self.types.INT16 if self.int16 else self.types.INT8)
