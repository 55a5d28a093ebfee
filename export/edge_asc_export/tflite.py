"""The TFLite writer: export forms to one file of signatures that share their weights.

Tensors are (batch, time, mel, channel): what a step joins to its caches and keeps of them is then in one piece, and the
features are the frames as they come. The file is written operation by operation: every tensor's name and grid is the
one that the export form has, states are fed back raw, and the step is one XNNPACK partition.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asc.contract import METADATA_KEY, Affine, Signature, StreamContract
from edge_asc.errors import ExportError, require
from edge_asc_export.graph import (
    Add,
    Concat,
    Conv,
    Fold,
    Graph,
    Linear,
    MaxPool,
    Multiply,
    Node,
    Reshape,
    Shape,
    Sigmoid,
    Slice,
    Tanh,
    Unary,
    Unfold,
)
from edge_asc_export.interface import laid_out, signature
from edge_asc_export.lowering import expand_gru
from edge_asc_export.plan import Plan
from edge_asc_export.quantisation import quantise, quantise_weight, round_weight, weight_scales
from edge_asc_export.xnnpack import suited

SCHEMA = "ai_edge_litert.schema_py_generated"
VERSION = 3
ALIGNMENT = 16
FEW_CHANNELS = 16
INTEGER_VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "QUANTIZE": 1, "RESHAPE": 1}
WIDE_VERSIONS = {
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


class TFLiteWriter:
    """Collects graphs, prepared by `plan`, as signatures of one file."""

    def __init__(self, plan: Plan) -> None:
        self.schema = require(SCHEMA, "export")
        self.plan, self.scheme, self.grids = plan, plan.scheme, dict(plan.grids)
        self.model = self.schema.ModelT()
        self.model.version = VERSION
        self.model.description = "edge-asc"
        self.model.buffers = [self.schema.BufferT()]
        self.model.operatorCodes, self.model.subgraphs = [], []
        self.model.signatureDefs, self.model.metadata = [], []
        self._shared: dict[bytes, int] = {}
        self._codes: dict[tuple[int, int], int] = {}
        self.graphs: list[Graph] = []

    def signature(self, graph: Graph, hop: int) -> Signature:
        """The interface that `add(graph)` writes."""
        return signature(suited(graph, {}), "channels_last", hop, self._state_type)

    def _state_type(self, tensor: str) -> tuple[str, Affine | None]:
        return (self.scheme.activations, self.grids[tensor]) if tensor in self.grids else ("float32", None)

    def add(self, graph: Graph) -> None:
        """Add a signature; the first one is also what the plain interpreter runs."""
        expanded = suited(expand_gru(graph), self.grids)
        self.graphs.append(expanded)
        _Subgraph(self, expanded, len(self.model.subgraphs)).write()

    def finish(self, contract: StreamContract) -> bytes:
        """The file, with `contract` in a metadata buffer."""
        metadata = self.schema.MetadataT()
        metadata.name = METADATA_KEY
        metadata.buffer = self.buffer(np.frombuffer(contract.dumps().encode(), np.uint8))
        self.model.metadata = [metadata]
        return _serialise(self.model, self.schema)

    def buffer(self, value: npt.NDArray[Any]) -> int:
        """The index of a buffer with these bytes; equal bytes are stored once."""
        content = np.ascontiguousarray(value).tobytes()
        key = hashlib.sha256(content).digest()
        if key not in self._shared:
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(content, np.uint8)
            self.model.buffers.append(buffer)
            self._shared[key] = len(self.model.buffers) - 1
        return self._shared[key]

    def code(self, builtin: int, version: int) -> int:
        """The index of an operator code."""
        if (builtin, version) not in self._codes:
            code = self.schema.OperatorCodeT()
            code.builtinCode, code.version = builtin, version
            code.deprecatedBuiltinCode = min(builtin, 127)
            self.model.operatorCodes.append(code)
            self._codes[builtin, version] = len(self.model.operatorCodes) - 1
        return self._codes[builtin, version]


class _Subgraph:
    """Writes one graph."""

    def __init__(self, file: TFLiteWriter, graph: Graph, index: int) -> None:
        self.file, self.graph, self.index, self.schema = file, graph, index, file.schema
        self.grids, self.wide = file.grids, file.plan.wide
        self.subgraph = self.schema.SubGraphT()
        self.subgraph.name = graph.name
        self.subgraph.tensors, self.subgraph.operators = [], []
        self.tensors: dict[str, int] = {}
        self.real: dict[str, int] = {}

    def write(self) -> None:
        inputs = [self._input(port.tensor, port.name, port.role) for port in self.graph.inputs]
        for name, value in self.graph.constants.items():
            self._constant_operand(name, value)
        for node in self.graph.nodes:
            self._node(node)
        outputs = [self._output(port.tensor, port.role) for port in self.graph.outputs]
        self.subgraph.inputs, self.subgraph.outputs = inputs, outputs
        self.file.model.subgraphs.append(self.subgraph)
        definition = self.schema.SignatureDefT()
        definition.signatureKey, definition.subgraphIndex = self.graph.name, self.index
        definition.inputs = self._maps([port.name for port in self.graph.inputs], inputs)
        definition.outputs = self._maps([port.name for port in self.graph.outputs], outputs)
        self.file.model.signatureDefs.append(definition)

    def _maps(self, names: Sequence[str], indices: Sequence[int]) -> list[Any]:
        maps = []
        for name, index in zip(names, indices, strict=True):
            entry = self.schema.TensorMapT()
            entry.name, entry.tensorIndex = name, index
            maps.append(entry)
        return maps

    def _input(self, tensor: str, name: str, role: str) -> int:
        shape = self._shape(tensor)
        if role == "state" or tensor not in self.grids:
            index = self._activation(tensor)
            self.subgraph.tensors[index].name = name
            return index
        real = self._tensor(name, shape, self.schema.TensorType.FLOAT32)
        self._operator("QUANTIZE", [real], self._activation(tensor), version=self._version("QUANTIZE", True))
        return real

    def _output(self, tensor: str, role: str) -> int:
        return self.tensors[tensor] if role == "state" else self._operand(tensor, integer=False)

    def _operand(self, tensor: str, *, integer: bool) -> int:
        """A tensor as integer operations read it, or in float."""
        if integer or tensor not in self.grids:
            return self.tensors[tensor]
        if tensor not in self.real:
            self.real[tensor] = self._tensor(f"{tensor}_real", self._shape(tensor), self.schema.TensorType.FLOAT32)
            version = self._version("DEQUANTIZE", True)
            self._operator("DEQUANTIZE", [self.tensors[tensor]], self.real[tensor], version=version)
        return self.real[tensor]

    def _is_integer(self, node: Node) -> bool:
        return all(tensor in self.grids for tensor in (node.output, *node.inputs))

    def _is_dynamic(self, node: Node) -> bool:
        return self.file.scheme.activations == "dynamic" and isinstance(node, Conv) and not node.depthwise

    def _version(self, builtin: str, integer: bool) -> int:
        """The first version of an operation that takes 8-bit, 16-bit or float activations."""
        if not integer:
            return 1
        return WIDE_VERSIONS.get(builtin, 1) if self.wide else INTEGER_VERSIONS.get(builtin, 2)

    def _shape(self, tensor: str) -> Shape:
        return laid_out(self.graph.shapes[tensor], "channels_last")

    def _tensor(self, name: str, shape: Shape, kind: int, *, data: npt.NDArray[Any] | None = None) -> int:
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, np.array(shape, np.int32), kind
        tensor.hasRank = True
        tensor.buffer = 0 if data is None else self.file.buffer(data)
        self.subgraph.tensors.append(tensor)
        return len(self.subgraph.tensors) - 1

    def _quantisation(self, index: int, scales: Sequence[float], zeros: Sequence[int], axis: int = 0) -> None:
        parameters = self.schema.QuantizationParametersT()
        parameters.scale = np.array(scales, np.float32)
        parameters.zeroPoint = np.array(zeros, np.int64)
        parameters.quantizedDimension = axis
        self.subgraph.tensors[index].quantization = parameters

    def _activation(self, tensor: str, *, name: str | None = None, shape: Shape | None = None) -> int:
        """A new tensor for a graph's tensor, or for a `shape` of its own on the same grid."""
        grid = self.grids.get(tensor)
        index = self._tensor(name or tensor, shape or self._shape(tensor), self._kind(tensor))
        if grid:
            self._quantisation(index, [grid.scale], [grid.zero_point])
        if name is None:
            self.tensors[tensor] = index
        return index

    def _kind(self, tensor: str) -> int:
        types = self.schema.TensorType
        if tensor not in self.grids:
            return int(types.FLOAT32)
        return int(types.INT16 if self.wide else types.INT8)

    def _constant_operand(self, name: str, value: npt.NDArray[np.float32]) -> None:
        shape = self._shape(name)
        value = value.transpose(1, 0, 2) if value.ndim == 3 else value
        if grid := self.grids.get(name):
            integers = quantise(value, grid, wide=self.wide).astype(np.int16 if self.wide else np.int8)
            index = self._tensor(name, shape, self._kind(name), data=integers)
            self._quantisation(index, [grid.scale], [grid.zero_point])
        else:
            index = self._tensor(name, shape, self.schema.TensorType.FLOAT32, data=value.astype(np.float32))
        self.tensors[name] = index

    def _weights(self, node: Conv | Linear, weight: npt.NDArray[np.float32], axis: int) -> list[int]:
        """Tensors of a layer's weight and bias; `axis` is the output-channel axis of `weight`."""
        types, name, shape = self.schema.TensorType, node.output, weight.shape
        if self._is_integer(node):
            source = self.grids[node.input]
            integers = quantise_weight(weight, node.bias, axis, source)
            w = self._tensor(f"{name}_weight", shape, types.INT8, data=integers.values)
            self._quantisation(w, list(integers.scales), [0] * len(integers.scales), axis)
            kind = types.INT64 if self.wide else types.INT32
            bias = integers.bias.astype(np.int64 if self.wide else np.int32)
            b = self._tensor(f"{name}_bias", node.bias.shape, kind, data=bias)
            self._quantisation(b, list(integers.bias_scales(source)), [0] * len(integers.scales))
            return [w, b]
        if self._is_dynamic(node):
            scales = weight_scales(weight, axis)
            w = self._tensor(f"{name}_weight", shape, types.INT8, data=round_weight(weight, scales, axis))
            self._quantisation(w, list(scales), [0] * len(scales), axis)
        elif self.file.scheme.weights == "float16":
            half = self._tensor(f"{name}_half", shape, types.FLOAT16, data=weight.astype(np.float16))
            w = self._tensor(f"{name}_weight", shape, types.FLOAT32)
            self._operator("DEQUANTIZE", [half], w, version=3)
        else:
            w = self._tensor(f"{name}_weight", shape, types.FLOAT32, data=weight.astype(np.float32))
        return [
            w,
            self._tensor(f"{name}_bias", node.bias.shape, types.FLOAT32, data=node.bias.astype(np.float32)),
        ]

    def _operator(
        self, builtin: str, inputs: Sequence[int], output: int, options: Any = None, *, version: int = 1
    ) -> None:
        operator = self.schema.OperatorT()
        operator.opcodeIndex = self.file.code(getattr(self.schema.BuiltinOperator, builtin), version)
        operator.inputs, operator.outputs = list(inputs), [output]
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, kind)
            operator.builtinOptions = options
        self.subgraph.operators.append(operator)

    def _activation_function(self, relu: bool) -> int:
        kinds = self.schema.ActivationFunctionType
        return int(kinds.RELU if relu else kinds.NONE)

    def _index(self, values: Sequence[int] | npt.NDArray[np.int32]) -> int:
        data = np.array(values, np.int32)
        return self._tensor(f"index_{len(self.subgraph.tensors)}", data.shape, self.schema.TensorType.INT32, data=data)

    def _node(self, node: Node) -> None:
        integer = self._is_integer(node)
        inputs = [self._operand(tensor, integer=integer) for tensor in node.inputs]
        if integer or node.output not in self.grids:
            self._compute(node, inputs, self._activation(node.output), integer)
            return
        exact = self._tensor(f"{node.output}_exact", self._shape(node.output), self.schema.TensorType.FLOAT32)
        self._compute(node, inputs, exact, integer)
        self._operator("QUANTIZE", [exact], self._activation(node.output), version=self._version("QUANTIZE", True))

    def _compute(self, node: Node, inputs: list[int], output: int, integer: bool) -> None:
        options: Any = None
        match node:
            case Conv():
                self._conv(node, inputs[0], output, integer)
                return
            case Linear():
                builtin, options = "FULLY_CONNECTED", self.schema.FullyConnectedOptionsT()
                inputs = [*inputs, *self._weights(node, node.weight, 0)]
            case Add():
                builtin, options = "ADD", self.schema.AddOptionsT()
                options.fusedActivationFunction = self._activation_function(node.relu)
                options.potScaleInt16 = False
            case Multiply():
                builtin, options = "MUL", self.schema.MulOptionsT()
            case Sigmoid():
                builtin = "LOGISTIC"
            case Tanh():
                builtin = "TANH"
            case Concat():
                builtin, options = "CONCATENATION", self.schema.ConcatenationOptionsT()
                options.axis = self._axis(node.axis, node.output)
            case Slice():
                builtin, options = "SLICE", self.schema.SliceOptionsT()
                inputs = [*inputs, *self._bounds(node)]
            case MaxPool():
                builtin, options = "MAX_POOL_2D", self.schema.Pool2DOptionsT()
                options.padding = self.schema.Padding.VALID
                options.strideH = options.strideW = options.filterHeight = options.filterWidth = 2
            case Reshape() | Unfold() | Fold():
                if isinstance(node, Fold) and any(node.padding):
                    inputs = [self._zeros_around(node, inputs[0], [node.padding, (0, 0)], integer)]
                builtin, options = "RESHAPE", self.schema.ReshapeOptionsT()
                options.newShape = np.array(self._shape(node.output), np.int32)
                inputs = [*inputs, self._index(options.newShape)]
            case _:
                raise ExportError(f"{type(node).__name__} has no TFLite form")
        self._operator(builtin, inputs, output, options, version=self._version(builtin, integer))

    def _axis(self, axis: int, tensor: str) -> int:
        return (2, 1, 3)[axis] if len(self.graph.shapes[tensor]) == 3 else axis

    def _bounds(self, node: Slice) -> tuple[int, int]:
        shape = self._shape(node.input)
        axis = self._axis(node.axis, node.input)
        begin, size = np.zeros(len(shape), np.int32), np.array(shape, np.int32)
        begin[axis], size[axis] = node.begin, node.size
        return self._index(begin), self._index(size)

    def _conv(self, node: Conv, source: int, output: int, integer: bool) -> None:
        source, padding = self._padded(node, source, integer)
        options: Any
        if node.depthwise:
            builtin, weight = "DEPTHWISE_CONV_2D", node.weight.transpose(2, 1, 0, 3)  # (1, time, mel, channel)
            options = self.schema.DepthwiseConv2DOptionsT()
            options.depthMultiplier = 1
        else:
            builtin, weight = "CONV_2D", node.weight.transpose(3, 1, 0, 2)  # (outputs, time, mel, inputs)
            options = self.schema.Conv2DOptionsT()
        options.padding = padding
        options.strideW, options.strideH = node.stride
        options.dilationHFactor = options.dilationWFactor = 1
        options.fusedActivationFunction = self._activation_function(node.relu)
        weights = self._weights(node, np.ascontiguousarray(weight), 3 if node.depthwise else 0)
        version = 5 if self._is_dynamic(node) else self._version(builtin, integer)
        self._operator(builtin, [source, *weights], output, options, version=version)

    def _padded(self, node: Conv, source: int, integer: bool) -> tuple[int, int]:
        """The input of a convolution, padded where TFLite's own SAME would put the zeros elsewhere."""
        shape = self.graph.shapes[node.input]
        if not any(map(any, node.padding)):
            return source, self.schema.Padding.VALID
        result = self.graph.shapes[node.output]
        same = all(
            _same_padding(shape[axis], node.weight.shape[axis], node.stride[axis])
            == (node.padding[axis][0], result[axis])
            for axis in (0, 1)
        )
        if same:
            return source, self.schema.Padding.SAME
        needed = []
        for axis in (0, 1):
            reach = (result[axis] - 1) * node.stride[axis] + node.weight.shape[axis]
            before = node.padding[axis][0]
            needed.append((before, max(0, reach - shape[axis] - before)))
        return self._zeros_around(node, source, needed, integer), self.schema.Padding.VALID

    def _zeros_around(self, node: Unary, source: int, widths: Sequence[tuple[int, int]], integer: bool) -> int:
        """The input of a node with zeros before and after on the mel and the time axis.

        Where there are few channels they are joined to it: XNNPACK's padding takes a hundred instructions for each
        position, however few they are.
        """
        shape = list(self.graph.shapes[node.input])
        if shape[2] >= FEW_CHANNELS:
            padded = [size + sum(around) for size, around in zip(shape, (*widths, (0, 0)), strict=True)]
            target = self._like(node.input, f"{node.output}_padded", tuple(padded), integer)
            around = self._index(np.array([(0, 0), *reversed(widths), (0, 0)], np.int32))
            version = self._version("PAD", integer)
            self._operator("PAD", [source, around], target, self.schema.PadOptionsT(), version=version)
            return target
        for axis, (before, after) in enumerate(widths):
            parts = [source]
            for count, where in ((before, 0), (after, 2)):
                if count:
                    zeros = (*shape[:axis], count, *shape[axis + 1 :])
                    parts.insert(where, self._zeros(node.input, laid_out(zeros, "channels_last"), integer))
            if len(parts) == 1:
                continue
            shape[axis] += before + after
            source = self._like(node.input, f"{node.output}_padded_{axis}", tuple(shape), integer)
            options = self.schema.ConcatenationOptionsT()
            options.axis = self._axis(axis, node.input)
            version = self._version("CONCATENATION", integer)
            self._operator("CONCATENATION", parts, source, options, version=version)
        return source

    def _like(self, tensor: str, name: str, shape: Shape, integer: bool) -> int:
        """A new activation of a (mel, time, channel) shape on the grid of a tensor."""
        size = laid_out(shape, "channels_last")
        return self._activation(tensor, name=name, shape=size) if integer else self._float(name, size)

    def _zeros(self, tensor: str, shape: Shape, integer: bool) -> int:
        """A constant of real zeros on the grid of a tensor."""
        name = f"zeros_{len(self.subgraph.tensors)}"
        if not integer:
            return self._float(name, shape, data=np.zeros(shape, np.float32))
        grid = self.grids[tensor]
        integers = np.full(shape, grid.zero_point, np.int16 if self.wide else np.int8)
        index = self._tensor(name, shape, self._kind(tensor), data=integers)
        self._quantisation(index, [grid.scale], [grid.zero_point])
        return index

    def _float(self, name: str, shape: Shape, *, data: npt.NDArray[Any] | None = None) -> int:
        return self._tensor(name, shape, self.schema.TensorType.FLOAT32, data=data)


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before the first element, and the output size, of TFLite's SAME padding."""
    result = -(-size // stride)
    total = max(0, (result - 1) * stride + kernel - size)
    return total // 2, result


def _serialise(model: Any, schema: Any) -> bytes:
    """The flatbuffer: buffers aligned as the schema asks, and equal vectors of quantisation parameters stored once.

    Flatbuffers' object interface does neither; the zero points alone would add a third to an 8-bit file.
    """
    flatbuffers = require("flatbuffers", "export")
    builder = flatbuffers.Builder(1 << 20)
    vectors: dict[bytes, int] = {}

    def shared(values: npt.NDArray[Any]) -> int:
        key = values.dtype.str.encode() + values.tobytes()
        if key not in vectors:
            vectors[key] = builder.CreateNumpyVector(values)
        return vectors[key]

    class SharedParameters(schema.QuantizationParametersT):  # type: ignore[misc]
        def Pack(self, builder: Any) -> Any:  # noqa: N802
            scale, zero = shared(self.scale), shared(self.zeroPoint)
            schema.QuantizationParametersStart(builder)
            schema.QuantizationParametersAddScale(builder, scale)
            schema.QuantizationParametersAddZeroPoint(builder, zero)
            schema.QuantizationParametersAddQuantizedDimension(builder, self.quantizedDimension)
            return schema.QuantizationParametersEnd(builder)

    class AlignedBuffer(schema.BufferT):  # type: ignore[misc]
        def Pack(self, builder: Any) -> Any:  # noqa: N802
            offset = None
            if self.data is not None:
                data = self.data.tobytes()
                builder.StartVector(1, len(data), ALIGNMENT)
                builder.head = builder.Head() - len(data)
                builder.Bytes[builder.Head() : builder.Head() + len(data)] = data
                offset = builder.EndVector()
            schema.BufferStart(builder)
            if offset is not None:
                schema.BufferAddData(builder, offset)
            return schema.BufferEnd(builder)

    model.buffers = [AlignedBuffer(buffer.data) for buffer in model.buffers]
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            if (parameters := tensor.quantization) is not None:
                tensor.quantization = SharedParameters(
                    scale=parameters.scale,
                    zeroPoint=parameters.zeroPoint,
                    quantizedDimension=parameters.quantizedDimension,
                )
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
