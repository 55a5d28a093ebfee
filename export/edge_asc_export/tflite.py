"""The TFLite writer: export forms to one file of signatures that share their weights, channels last.

The file is written operation by operation: every tensor's name, layout and grid is the one that the export form has,
states are fed back raw, and the step is one XNNPACK partition.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asc.contract import METADATA_KEY, Affine, Signature, StreamContract
from edge_asc.errors import ExportError, require
from edge_asc_export.graph import (
    Add,
    Concat,
    Conv,
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
)
from edge_asc_export.interface import laid_out, signature
from edge_asc_export.lowering import expand_gru
from edge_asc_export.quantisation import Scheme, quantise, quantise_weight, round_weight, weight_scales

SCHEMA = "ai_edge_litert.schema_py_generated"
VERSION = 3
ALIGNMENT = 16


class TFLiteWriter:
    """Collects graphs as signatures of one file.

    `grids` holds the grid of every tensor of the expanded graphs of a static int8 artefact.
    """

    def __init__(self, scheme: Scheme, grids: Mapping[str, Affine] | None = None) -> None:
        self.schema = require(SCHEMA, "export")
        self.scheme, self.grids = scheme, dict(grids or {})
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
        return signature(graph, "channels_last", hop, self._state_type)

    def _state_type(self, tensor: str) -> tuple[str, Affine | None]:
        return ("int8", self.grids[tensor]) if tensor in self.grids else ("float32", None)

    def add(self, graph: Graph) -> None:
        """Add a signature; the first one is also what the plain interpreter runs."""
        expanded = expand_gru(graph)
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
        self.grids = file.grids
        self.subgraph = self.schema.SubGraphT()
        self.subgraph.name = graph.name
        self.subgraph.tensors, self.subgraph.operators = [], []
        self.tensors: dict[str, int] = {}

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
        self._operator("QUANTIZE", [real], self._activation(tensor))
        return real

    def _output(self, tensor: str, role: str) -> int:
        if role == "state" or tensor not in self.grids:
            return self.tensors[tensor]
        real = self._tensor(f"{tensor}_real", self._shape(tensor), self.schema.TensorType.FLOAT32)
        self._operator("DEQUANTIZE", [self.tensors[tensor]], real, version=2)
        return real

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
        kind = self.schema.TensorType.INT8 if grid else self.schema.TensorType.FLOAT32
        index = self._tensor(name or tensor, shape or self._shape(tensor), kind)
        if grid:
            self._quantisation(index, [grid.scale], [grid.zero_point])
        if name is None:
            self.tensors[tensor] = index
        return index

    def _constant_operand(self, name: str, value: npt.NDArray[np.float32]) -> None:
        shape = self._shape(name)
        if grid := self.grids.get(name):
            index = self._tensor(name, shape, self.schema.TensorType.INT8, data=quantise(value, grid))
            self._quantisation(index, [grid.scale], [grid.zero_point])
        else:
            index = self._tensor(name, shape, self.schema.TensorType.FLOAT32, data=value.astype(np.float32))
        self.tensors[name] = index

    def _weights(self, node: Conv | Linear, weight: npt.NDArray[np.float32], axis: int, *, dynamic: bool) -> list[int]:
        """Tensors of a layer's weight and bias; `axis` is the output-channel axis of `weight`."""
        types, name, shape = self.schema.TensorType, node.output, weight.shape
        source = self.grids.get(node.input)
        if source is not None:
            integers = quantise_weight(weight, node.bias, axis, source)
            w = self._tensor(f"{name}_weight", shape, types.INT8, data=integers.values)
            self._quantisation(w, list(integers.scales), [0] * len(integers.scales), axis)
            b = self._tensor(f"{name}_bias", node.bias.shape, types.INT32, data=integers.bias)
            self._quantisation(b, list(integers.bias_scales(source)), [0] * len(integers.scales))
            return [w, b]
        if dynamic and self.file.scheme == "int8-dynamic":
            scales = weight_scales(weight, axis)
            w = self._tensor(f"{name}_weight", shape, types.INT8, data=round_weight(weight, scales, axis))
            self._quantisation(w, list(scales), [0] * len(scales), axis)
        elif self.file.scheme == "fp16":
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
        integer = node.output in self.grids
        version = 2 if integer else 1
        inputs = [] if isinstance(node, Conv) else [self.tensors[name] for name in node.inputs]
        match node:
            case Conv():
                self._conv(node)
                return
            case Linear():
                options = self.schema.FullyConnectedOptionsT()
                dynamic = self.file.scheme == "int8-dynamic"
                options.asymmetricQuantizeInputs = dynamic
                weights = self._weights(node, node.weight, 0, dynamic=True)
                version = 4 if integer else 9 if dynamic else 1
                self._operator(
                    "FULLY_CONNECTED",
                    [*inputs, *weights],
                    self._activation(node.output),
                    options,
                    version=version,
                )
            case Add():
                options = self.schema.AddOptionsT()
                options.fusedActivationFunction = self._activation_function(node.relu)
                self._operator("ADD", inputs, self._activation(node.output), options, version=version)
            case Multiply():
                self._operator("MUL", inputs, self._activation(node.output), self.schema.MulOptionsT(), version=version)
            case Sigmoid():
                self._operator("LOGISTIC", inputs, self._activation(node.output), version=version)
            case Tanh():
                self._operator("TANH", inputs, self._activation(node.output), version=version)
            case Concat():
                options = self.schema.ConcatenationOptionsT()
                options.axis = self._axis(node.axis, node.output)
                self._operator("CONCATENATION", inputs, self._activation(node.output), options, version=version)
            case Slice():
                self._slice(node, inputs[0], version)
            case MaxPool():
                options = self.schema.Pool2DOptionsT()
                options.padding = self.schema.Padding.VALID
                options.strideH = options.strideW = options.filterHeight = options.filterWidth = 2
                self._operator("MAX_POOL_2D", inputs, self._activation(node.output), options, version=version)
            case Reshape():
                options = self.schema.ReshapeOptionsT()
                options.newShape = np.array(self._shape(node.output), np.int32)
                shape = self._index(options.newShape)
                self._operator("RESHAPE", [*inputs, shape], self._activation(node.output), options)
            case _:
                raise ExportError(f"{type(node).__name__} has no TFLite form")

    def _axis(self, axis: int, tensor: str) -> int:
        return axis + 1 if len(self.graph.shapes[tensor]) == 3 else axis

    def _slice(self, node: Slice, source: int, version: int) -> None:
        shape = self._shape(node.input)
        axis = self._axis(node.axis, node.input)
        begin, size = np.zeros(len(shape), np.int32), np.array(shape, np.int32)
        begin[axis], size[axis] = node.begin, node.size
        inputs = [source, self._index(begin), self._index(size)]
        self._operator("SLICE", inputs, self._activation(node.output), self.schema.SliceOptionsT(), version=version)

    def _conv(self, node: Conv) -> None:
        source, padding = self._padded(node)
        output = self._activation(node.output)
        options: Any
        if node.depthwise:
            weight = node.weight.transpose(2, 0, 1, 3)  # (1, mel, time, channel)
            options = self.schema.DepthwiseConv2DOptionsT()
            options.depthMultiplier = 1
        else:
            weight = node.weight.transpose(3, 0, 1, 2)  # (outputs, mel, time, inputs)
            options = self.schema.Conv2DOptionsT()
        options.padding = padding
        options.strideH, options.strideW = node.stride
        options.dilationHFactor = options.dilationWFactor = 1
        options.fusedActivationFunction = self._activation_function(node.relu)
        weights = self._weights(
            node, np.ascontiguousarray(weight), 3 if node.depthwise else 0, dynamic=not node.depthwise
        )
        builtin = "DEPTHWISE_CONV_2D" if node.depthwise else "CONV_2D"
        integer = node.output in self.grids
        dynamic = self.file.scheme == "int8-dynamic" and not node.depthwise
        version = 3 if integer else 5 if dynamic else 1
        self._operator(builtin, [source, *weights], output, options, version=version)

    def _padded(self, node: Conv) -> tuple[int, int]:
        """The input of a convolution, padded where TFLite's own SAME would put the zeros elsewhere."""
        source, shape = self.tensors[node.input], self.graph.shapes[node.input]
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
        widths = np.array([(0, 0), *needed, (0, 0)], np.int32)
        mel, time, channel = (shape[0] + sum(needed[0]), shape[1] + sum(needed[1]), shape[2])
        padded = self._activation(node.input, name=f"{node.output}_padded", shape=(1, mel, time, channel))
        version = 2 if node.input in self.grids else 1
        self._operator("PAD", [source, self._index(widths)], padded, self.schema.PadOptionsT(), version=version)
        return padded, self.schema.Padding.VALID


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
