"""The ONNX writer: one graph to a model that onnxruntime runs.

ONNX computes channels first. onnxruntime's integer kernels compute channels last: there, features and states come and
go that way, and the transposes that ONNX needs between cancel when onnxruntime loads the file.

Activations are uint8 in the file, since onnxruntime's fast kernels take these. Weights are uint8 around 128: with int8
weights its AVX2 kernels add pairs of products in 16 bits and saturate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edge_asc.contract import INT16, METADATA_KEY, Affine, Signature, StreamContract, TensorSpec
from edge_asc.errors import ExportError, require
from edge_asc.quantisation import quantise, quantise_weight, round_weight, weight_scales
from edge_asc.seal import SPARE, seal
from edge_asc_export.graph import (
    GRU,
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
    Shape,
    Sigmoid,
    Slice,
    Tanh,
    Transpose,
    Unfold,
    View,
)
from edge_asc_export.onnx_nodes import count_repetition, remove_identities
from edge_asc_export.pipeline import Lowered
from edge_asc_export.signature import Layout, Type, signature_of, to_layout

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

OPSET = 17
IR_VERSION = 9  # onnxruntime 1.18 and later

# What an operation's attributes hold.
Attribute = int | Sequence[int]


class OnnxFile:
    """A model that is complete but for its contract."""

    def __init__(self, model: ModelProto, graph: Graph, layout: Layout, qparams: Mapping[str, Affine]) -> None:
        self._model, self._graph, self._layout, self._qparams = model, graph, layout, qparams

    def signatures(self, hop: int) -> tuple[Signature, ...]:
        """Return the one signature of the file."""
        return (_signature(self._graph, self._layout, hop, self._qparams),)

    def finish(self, contract: StreamContract) -> bytes:
        """Return the file with this contract, sealed, in its metadata."""
        helper = require("onnx", "export").helper
        helper.set_model_props(self._model, {METADATA_KEY: contract.dumps(SPARE)})
        return seal(self._model.SerializeToString())


def write_onnx(graphs: Sequence[Lowered]) -> OnnxFile:
    """Write one graph.

    Activations with quantisation parameters are stored channels last.

    Raises:
        ExportError: several graphs, or one with an operation that ONNX files of this toolkit do not have.
    """
    if len(graphs) != 1:
        raise ExportError(f"got {len(graphs)} graphs for one ONNX file; expected one")
    lowered = graphs[0]
    layout: Layout = "channels_last" if lowered.plan.qparams else "channels_first"
    model = _Writer(lowered, layout).write()
    return OnnxFile(model, lowered.graph, layout, lowered.qparams)


def _signature(graph: Graph, layout: Layout, hop: int, qparams: Mapping[str, Affine]) -> Signature:
    def state_type(tensor: str) -> Type:
        return ("uint8", _to_uint8(qparams[tensor])) if tensor in qparams else ("float32", None)

    return signature_of(graph, layout, hop, state_type)


def _to_uint8(qparams: Affine) -> Affine:
    """Return the parameters of the same values as uint8 instead of int8."""
    return Affine(qparams.scale, qparams.zero_point + 128)


class _Writer:
    """Collects the nodes and initializers of one graph.

    A tensor of the graph has up to two values in the file: a float one and an integer one, each written when something
    reads it.
    """

    def __init__(self, lowered: Lowered, layout: Layout) -> None:
        self.onnx = require("onnx", "export")
        self.scheme, self.graph, self.qparams, self.layout = lowered.plan.scheme, lowered.graph, lowered.qparams, layout
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}
        self.floats: dict[str, str] = {}
        self.integers: dict[str, str] = {}

    def write(self) -> ModelProto:
        """Return the model, without metadata."""
        specs = _signature(self.graph, self.layout, 0, self.qparams)
        for port, spec in zip(self.graph.inputs, specs.inputs, strict=True):
            first = port.name
            if self._is_transposed(spec):
                first = self._emit("Transpose", [port.name], f"{port.name}_first", perm=[0, 3, 1, 2])
            (self.integers if spec.quantisation and not port.int16 else self.floats)[port.tensor] = first
        for name, value in self.graph.constants.items():
            self._write_constant(name, value)
        for node in self.graph.nodes:
            self._write_node(node)
        for port, spec in zip(self.graph.outputs, specs.outputs, strict=True):
            source = self._integer(port.tensor) if spec.quantisation else self._float(port.tensor)
            if self._is_transposed(spec):
                self._emit("Transpose", [source], port.name, perm=[0, 2, 3, 1])
            elif source != port.name:
                self._emit("Identity", [source], port.name)
        helper = self.onnx.helper
        inputs, outputs = ([self._value_info(spec) for spec in side] for side in (specs.inputs, specs.outputs))
        nodes = remove_identities(self.nodes, {spec.name for spec in specs.outputs})
        for i, node in enumerate(nodes):
            node.name = str(i)  # onnxruntime before 1.22 refuses nodes that share a name, as nameless ones do
        graph = helper.make_graph(nodes, self.graph.name, inputs, outputs, list(self.initializers.values()))
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="edge-asc")
        self.onnx.checker.check_model(model, full_check=True)
        return model

    def _value_info(self, spec: TensorSpec) -> ValueInfoProto:
        helper = self.onnx.helper
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
        return helper.make_tensor_value_info(spec.name, kind, spec.shape)

    def _is_transposed(self, spec: TensorSpec) -> bool:
        return self.layout == "channels_last" and len(spec.shape) == 4

    def _emit(self, op: str, inputs: Sequence[str], output: str, **attributes: Attribute) -> str:
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def _initializer(self, name: str, value: npt.ArrayLike) -> str:
        if name not in self.initializers:
            self.initializers[name] = self.onnx.numpy_helper.from_array(np.asarray(value), name)
        return name

    def _weight(self, name: str, value: Array) -> str:
        """Return a float weight, stored in half precision where the scheme says so."""
        if self.scheme.weights != "float16" or value.ndim < 2:
            return self._initializer(name, value.astype(np.float32))
        half = self._initializer(f"{name}_half", value.astype(np.float16))
        return self._emit("Cast", [half], name, to=self.onnx.TensorProto.FLOAT)

    def _affine(self, tensor: str) -> tuple[str, str]:
        """Return the initializers of a tensor's scale and zero point; tensors with equal ones share them."""
        qparams = _to_uint8(self.qparams[tensor])
        key = f"{qparams.scale:.9g}_{qparams.zero_point}"
        scale = self._initializer(f"scale_{key}", np.float32(qparams.scale))
        return scale, self._initializer(f"zero_{key}", np.uint8(qparams.zero_point))

    def _float(self, tensor: str) -> str:
        if tensor not in self.floats:
            self.floats[tensor] = self._emit(
                "DequantizeLinear", [self.integers[tensor], *self._affine(tensor)], f"{tensor}_r"
            )
        return self.floats[tensor]

    def _integer(self, tensor: str) -> str:
        if tensor not in self.integers:
            self.integers[tensor] = self._emit(
                "QuantizeLinear", [self.floats[tensor], *self._affine(tensor)], f"{tensor}_q"
            )
        return self.integers[tensor]

    def _write_constant(self, name: str, value: Array) -> None:
        if value.ndim == 3:
            value = np.ascontiguousarray(value.transpose(2, 1, 0)[None])
        if name in self.qparams:
            integers = quantise(value, self.qparams[name]) + 128
            self.integers[name] = self._initializer(name, integers.astype(np.uint8))
        elif (rows := count_repetition(value)) > 1:
            # Stored once for a band of rows; onnxruntime spreads it when it loads the file.
            shape = (*value.shape[:-1], value.shape[-1] // rows, rows)
            bands = self._initializer(f"{name}_bands", value[..., ::rows, None])
            spread = self._emit("Expand", [bands, self._shape(shape)], f"{name}_spread")
            self.floats[name] = self._emit("Reshape", [spread, self._shape(value.shape)], name)
        else:
            self.floats[name] = self._initializer(name, value)

    def _compute(
        self, node: Node, op: str, inputs: Sequence[str], *, relu: bool = False, **attributes: Attribute
    ) -> None:
        """Emit arithmetic; saturation replaces its ReLU where zero is the lowest integer."""
        name = node.output
        integer = name in self.qparams
        if relu and not (integer and _to_uint8(self.qparams[name]).zero_point == 0):
            inputs, op, attributes = [self._emit(op, inputs, f"{name}_linear", **attributes)], "Relu", {}
        if integer:
            exact = self._emit(op, inputs, f"{name}_x", **attributes)
            self.integers[name] = self._emit("QuantizeLinear", [exact, *self._affine(name)], f"{name}_q")
        else:
            self.floats[name] = self._emit(op, inputs, name, **attributes)

    def _move(self, node: Node, op: str, extra: Sequence[str] = (), **attributes: Attribute) -> None:
        """Emit an operation that moves values and computes nothing, on integers where there are integers."""
        table, get = (self.integers, self._integer) if node.output in self.qparams else (self.floats, self._float)
        table[node.output] = self._emit(op, [*map(get, node.inputs), *extra], f"{node.output}_moved", **attributes)

    def _write_node(self, node: Node) -> None:
        match node:
            case Conv2D():
                self._write_conv(node)
            case Linear():
                self._compute(node, "Gemm", [self._float(node.input), *self._operands(node, node.weight)], transB=1)
            case Add():
                self._compute(node, "Add", [self._float(node.left), self._float(node.right)], relu=node.relu)
            case Multiply():
                self._compute(node, "Mul", [self._float(node.left), self._float(node.right)])
            case Sigmoid():
                self._compute(node, "Sigmoid", [self._float(node.input)])
            case Tanh():
                self._compute(node, "Tanh", [self._float(node.input)])
            case Concat():
                self._move(node, "Concat", axis=self._axis(node.axis, node.output))
            case Slice():
                axis = self._axis(node.axis, node.output)
                bounds = (node.begin, node.begin + node.size, axis)
                self._move(node, "Slice", [self._initializer(f"int_{i}", np.array([i], np.int64)) for i in bounds])
            case MaxPool():
                self._move(node, "MaxPool", kernel_shape=[2, 2], strides=[2, 2])
            case Reshape():
                self._write_rows(node)
            case Fold() | Unfold():
                self._write_fold(node)
            case GRU():
                self._write_gru(node)
            case _:
                self._write_front_end(node)

    def _write_front_end(self, node: Node) -> None:
        """Emit an operation of the front end, whose tensors are float; features are rounded after the last one."""
        match node:
            case Product():
                weight = self._initializer(f"{node.output}_w", np.ascontiguousarray(node.weight.T, np.float32))
                self._compute(node, "MatMul", [self._float(node.input), weight])
            case View():
                self._compute(node, "Reshape", [self._float(node.input), self._shape(node.shape)])
            case Transpose():
                self._compute(node, "Transpose", [self._float(node.input)], perm=[0, 1, 3, 2])
            case Columns():
                shape = self._shape(to_layout(self.graph.shapes[node.output], "channels_first"))
                self._compute(node, "Reshape", [self._float(node.input), shape])
            case Log():
                self._compute(node, "Log", [self._float(node.input)])
            case Clip():
                bounds = [self._initializer(f"bound_{v:g}", np.float32(v)) for v in (node.low, node.high)]
                self._compute(node, "Clip", [self._float(node.input), *bounds])
            case FromInt16():
                cast = self._emit(
                    "Cast", [self._float(node.input)], f"{node.output}_cast", to=self.onnx.TensorProto.FLOAT
                )
                self._compute(node, "Mul", [cast, self._initializer("int16_scale", np.float32(INT16.scale))])
            case _:
                raise ExportError(f"a {type(node).__name__} has no ONNX form")

    def _axis(self, axis: int, tensor: str) -> int:
        return (3, 2, 1)[axis] if len(self.graph.shapes[tensor]) == 3 else axis

    def _shape(self, shape: Shape) -> str:
        return self._initializer("shape_" + "x".join(map(str, shape)), np.array(shape, np.int64))

    def _write_conv(self, node: Conv2D) -> None:
        (low, high), (before, after) = node.padding
        weight = np.ascontiguousarray(node.weight.transpose(3, 2, 1, 0))
        attributes: dict[str, Attribute] = {
            "kernel_shape": weight.shape[2:],
            "strides": node.stride[::-1],
            "pads": [before, low, after, high],
            "group": len(weight) if node.depthwise else 1,
        }
        if self.scheme.activations == "dynamic" and not node.depthwise:
            self._write_dynamic_conv(node, weight, attributes)
            return
        operands = self._operands(node, weight)
        self._compute(node, "Conv", [self._float(node.input), *operands], relu=node.relu, **attributes)

    def _operands(self, node: Conv2D | Linear, weight: Array) -> list[str]:
        """Return weight, output channels first, and bias of a layer; from integers where it computes in integers."""
        names = f"{node.output}_w", f"{node.output}_b"
        if node.input not in self.qparams or node.output not in self.qparams:
            return [self._weight(names[0], weight), self._initializer(names[1], node.bias)]
        integers = quantise_weight(weight, node.bias, 0, self.qparams[node.input])
        scales = integers.bias_scales(self.qparams[node.input])
        values = (integers.values.astype(np.int16) + 128).astype(np.uint8)
        return [
            self._dequantise(names[0], values, integers.scales),
            self._dequantise(names[1], integers.bias.astype(np.int32), scales),
        ]

    def _dequantise(self, name: str, values: npt.NDArray[np.integer], scales: Array) -> str:
        zero = np.full(len(scales), 128 if values.dtype == np.uint8 else 0, values.dtype)
        inputs = [
            self._initializer(f"{name}_q", values),
            self._initializer(f"{name}_s", scales),
            self._initializer(f"zeros_{values.dtype}_{len(scales)}", zero),
        ]
        return self._emit("DequantizeLinear", inputs, name, axis=0)

    def _write_dynamic_conv(self, node: Conv2D, weight: Array, attributes: dict[str, Attribute]) -> None:
        """Quantise the input at each step with a scale of that step; multiply integers, and scale the sums to float."""
        name = node.output
        if f"{node.input}_dynamic" not in self.integers:
            inputs = [self._float(node.input)]
            outputs = [f"{node.input}_dynamic", f"{node.input}_dynamic_s", f"{node.input}_dynamic_zero"]
            self.nodes.append(self.onnx.helper.make_node("DynamicQuantizeLinear", inputs, outputs))
            self.integers[outputs[0]] = outputs[0]
        scales = weight_scales(weight, 0)
        values = (round_weight(weight, scales, 0).astype(np.int16) + 128).astype(np.uint8)
        products = self._emit(
            "ConvInteger",
            [
                f"{node.input}_dynamic",
                self._initializer(f"{name}_weight_q", values),
                f"{node.input}_dynamic_zero",
                self._initializer("zero_w", np.uint8(128)),
            ],
            f"{name}_products",
            **attributes,
        )
        sums = self._emit("Cast", [products], f"{name}_cast", to=self.onnx.TensorProto.FLOAT)
        channels = self._initializer(f"{name}_w_s", scales.reshape(1, -1, 1, 1))
        step = self._emit("Mul", [f"{node.input}_dynamic_s", channels], f"{name}_step")
        scaled = self._emit("Mul", [sums, step], f"{name}_scaled")
        bias = self._initializer(f"{name}_b", node.bias.reshape(1, -1, 1, 1))
        self._compute(node, "Add", [scaled, bias], relu=node.relu)

    def _write_rows(self, node: Reshape) -> None:
        """Reshape (1, channel, rows, 1) to (rows, channel)."""
        table, get = (self.integers, self._integer) if node.output in self.qparams else (self.floats, self._float)
        source = get(node.input)
        if node.shape[0] > 1:
            source = self._emit("Transpose", [source], f"{node.output}_last", perm=[0, 2, 3, 1])
        table[node.output] = self._emit("Reshape", [source, self._shape(node.shape)], node.output)

    def _write_fold(self, node: Fold | Unfold) -> None:
        """Turn blocks of mel rows into channels, or back: a reshape where channels are last."""
        table, get = (self.integers, self._integer) if node.output in self.qparams else (self.floats, self._float)
        source, name = get(node.input), node.output
        if isinstance(node, Fold) and any(node.padding):
            before, after = node.padding
            zero = (
                self._affine(node.input)[1] if node.output in self.qparams else self._initializer("zero", np.float32(0))
            )
            pads = self._initializer(f"{name}_pads", np.array([0, 0, 0, before, 0, 0, 0, after], np.int64))
            source = self._emit("Pad", [source, pads, zero], f"{name}_padded")
        last = self._emit("Transpose", [source], f"{name}_last", perm=[0, 2, 3, 1])
        shape = self._shape(to_layout(self.graph.shapes[name], "channels_last"))
        blocks = self._emit("Reshape", [last, shape], f"{name}_blocks")
        table[name] = self._emit("Transpose", [blocks], f"{name}_first", perm=[0, 3, 1, 2])

    def _write_gru(self, node: GRU) -> None:
        n, name = node.units, node.output
        order = np.r_[n : 2 * n, 0:n, 2 * n : 3 * n]  # torch: r, z, n; ONNX: z, r, h
        rows, inputs = self.graph.shapes[node.input]
        bias = np.concatenate((node.bias[order], node.recurrent_bias[order]))[None]
        operands = [
            self._emit("Reshape", [self._float(node.input), self._shape((rows, 1, inputs))], f"{name}_sequence"),
            self._weight(f"{name}_w", node.weight[order][None]),
            self._weight(f"{name}_recurrent", node.recurrent[order][None]),
            self._initializer(f"{name}_b", bias),
            "",
            self._emit("Reshape", [self._float(node.hidden), self._shape((1, 1, n))], f"{name}_initial"),
        ]
        self._emit("GRU", operands, f"{name}_all", hidden_size=n, linear_before_reset=1)
        self.floats[name] = self._emit("Reshape", [f"{name}_all", self._shape((rows, n))], name)
