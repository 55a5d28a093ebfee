"""The ONNX writer: an export form to a model that onnxruntime runs.

ONNX computes channels first. onnxruntime's integer kernels compute channels last: there, features and states come and
go that way, and the transposes that ONNX needs between cancel when onnxruntime loads the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asc.contract import METADATA_KEY, Affine, Signature, StreamContract
from edge_asc.errors import ExportError, require
from edge_asc_export.graph import (
    GRU,
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
    Unfold,
)
from edge_asc_export.interface import Layout, laid_out, signature
from edge_asc_export.lowering import expand_gru
from edge_asc_export.onnxruntime import suited
from edge_asc_export.plan import Plan
from edge_asc_export.quantisation import quantise, quantise_weight, round_weight, weight_scales

OPSET = 17
IR_VERSION = 9  # onnxruntime 1.18 and later


RECURRENT = ("gru_", "hidden_", "logits")


def integer_gru(graph: Graph, plan: Plan) -> bool:
    """Whether anything in the GRU layers of a graph computes in integers."""
    rows = {graph.shapes[node.output][0] for node in graph.nodes if isinstance(node, GRU)}
    return rows == {1} and any(tensor.startswith("gru_") for tensor in plan.grids)


def _unsigned(affine: Affine) -> Affine:
    """The grid of a signed tensor for unsigned integers: onnxruntime's fast kernels take uint8 activations."""
    return Affine(affine.scale, affine.zero_point + 128)


class OnnxWriter:
    """Writes one graph, prepared by `plan`.

    A GRU with grids is written out as linear layers, since onnxruntime has no integer GRU; over several rows, as in a
    window, that would be too many operations, and the recurrent part stays float.

    Raises:
        ExportError: ONNX cannot express the plan's scheme.
    """

    def __init__(self, graph: Graph, plan: Plan) -> None:
        self.onnx = require("onnx", "export")
        if "onnx" not in plan.scheme.formats:
            raise ExportError(
                f"{plan.scheme.name}: onnxruntime has no kernels for {plan.scheme.activations} activations; "
                "export it to tflite, or choose another --quantize"
            )
        self.scheme = plan.scheme
        if integer_gru(graph, plan):
            graph, self.grids = expand_gru(graph), dict(plan.grids)
        else:
            self.grids = {k: v for k, v in plan.grids.items() if not k.startswith(RECURRENT)}
        self.layout: Layout = "channels_last" if plan.grids else "channels_first"
        self.graph = suited(graph, self.grids)
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self.real: dict[str, str] = {}
        self.integer: dict[str, str] = {}

    def signature(self, hop: int) -> Signature:
        """The interface that is written."""
        return signature(self.graph, self.layout, hop, self._state_type)

    def _state_type(self, tensor: str) -> tuple[str, Affine | None]:
        if tensor in self.grids:
            return "uint8", _unsigned(self.grids[tensor])
        return "float32", None

    def write(self, contract: StreamContract) -> bytes:
        """The model, with `contract` in its metadata."""
        specs = contract.signature(self.graph.name)
        for port, spec in zip(self.graph.inputs, specs.inputs, strict=True):
            first = port.name
            if self._is_turned(spec):
                first = self._emit("Transpose", [port.name], f"{port.name}_first", perm=[0, 3, 1, 2])
            (self.integer if spec.quantisation else self.real)[port.tensor] = first
        for name, value in self.graph.constants.items():
            self._constant(name, value)
        for node in self.graph.nodes:
            self._node(node)
        for port, spec in zip(self.graph.outputs, specs.outputs, strict=True):
            source = self._integer(port.tensor) if spec.quantisation else self._real(port.tensor)
            if self._is_turned(spec):
                self._emit("Transpose", [source], port.name, perm=[0, 2, 3, 1])
            elif source != port.name:
                self._emit("Identity", [source], port.name)
        helper = self.onnx.helper

        def info(spec: Any) -> Any:
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
            return helper.make_tensor_value_info(spec.name, kind, spec.shape)

        inputs, outputs = ([info(spec) for spec in side] for side in (specs.inputs, specs.outputs))
        nodes = _without_identities(self.nodes, {spec.name for spec in specs.outputs})
        graph = helper.make_graph(nodes, self.graph.name, inputs, outputs, list(self.initializers.values()))
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="edge-asc")
        helper.set_model_props(model, {METADATA_KEY: contract.dumps()})
        self.onnx.checker.check_model(model, full_check=True)
        data: bytes = model.SerializeToString()
        return data

    def _is_turned(self, spec: Any) -> bool:
        return self.layout == "channels_last" and len(spec.shape) == 4

    def _emit(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def _initializer(self, name: str, value: npt.ArrayLike) -> str:
        if name not in self.initializers:
            self.initializers[name] = self.onnx.numpy_helper.from_array(np.asarray(value), name)
        return name

    def _weight(self, name: str, value: npt.NDArray[np.float32]) -> str:
        """A float weight, stored in half precision where the scheme says so."""
        if self.scheme.weights != "float16" or value.ndim < 2:
            return self._initializer(name, value.astype(np.float32))
        half = self._initializer(f"{name}_half", value.astype(np.float16))
        return self._emit("Cast", [half], name, to=self.onnx.TensorProto.FLOAT)

    def _affine(self, tensor: str) -> tuple[str, str]:
        """Initializers of a grid's scale and zero point, shared by all tensors on it."""
        grid = _unsigned(self.grids[tensor])
        key = f"{grid.scale:.9g}_{grid.zero_point}"
        scale = self._initializer(f"scale_{key}", np.float32(grid.scale))
        return scale, self._initializer(f"zero_{key}", np.uint8(grid.zero_point))

    def _real(self, tensor: str) -> str:
        if tensor not in self.real:
            self.real[tensor] = self._emit(
                "DequantizeLinear", [self.integer[tensor], *self._affine(tensor)], f"{tensor}_r"
            )
        return self.real[tensor]

    def _integer(self, tensor: str) -> str:
        if tensor not in self.integer:
            self.integer[tensor] = self._emit(
                "QuantizeLinear", [self.real[tensor], *self._affine(tensor)], f"{tensor}_q"
            )
        return self.integer[tensor]

    def _constant(self, name: str, value: npt.NDArray[np.float32]) -> None:
        if value.ndim == 3:
            value = np.ascontiguousarray(value.transpose(2, 1, 0)[None])
        if name in self.grids:
            integers = quantise(value, self.grids[name]) + 128
            self.integer[name] = self._initializer(name, integers.astype(np.uint8))
        elif (rows := _equal_rows(value)) > 1:
            # Stored once for a band of rows; onnxruntime spreads it when it loads the file.
            shape = (*value.shape[:-1], value.shape[-1] // rows, rows)
            bands = self._initializer(f"{name}_bands", value[..., ::rows, None])
            spread = self._emit("Expand", [bands, self._shape(shape)], f"{name}_spread")
            self.real[name] = self._emit("Reshape", [spread, self._shape(value.shape)], name)
        else:
            self.real[name] = self._initializer(name, value)

    def _result(self, node: Node, op: str, inputs: Sequence[str], *, relu: bool = False, **attributes: Any) -> None:
        """Emit arithmetic; its ReLU is left to the saturation of the integers where zero is the lowest one."""
        name = node.output
        integer = name in self.grids
        if relu and not (integer and _unsigned(self.grids[name]).zero_point == 0):
            inputs, op, attributes = [self._emit(op, inputs, f"{name}_linear", **attributes)], "Relu", {}
        if integer:
            real = self._emit(op, inputs, f"{name}_x", **attributes)
            self.integer[name] = self._emit("QuantizeLinear", [real, *self._affine(name)], f"{name}_q")
        else:
            self.real[name] = self._emit(op, inputs, name, **attributes)

    def _move(self, node: Node, op: str, extra: Sequence[str] = (), **attributes: Any) -> None:
        """Emit an operation that moves values and computes nothing, on integers where there are integers."""
        table, get = (self.integer, self._integer) if node.output in self.grids else (self.real, self._real)
        table[node.output] = self._emit(op, [*map(get, node.inputs), *extra], f"{node.output}_moved", **attributes)

    def _node(self, node: Node) -> None:
        match node:
            case Conv():
                self._conv(node)
            case Linear():
                self._result(node, "Gemm", [self._real(node.input), *self._operands(node, node.weight)], transB=1)
            case Add():
                self._result(node, "Add", [self._real(node.left), self._real(node.right)], relu=node.relu)
            case Multiply():
                self._result(node, "Mul", [self._real(node.left), self._real(node.right)])
            case Sigmoid():
                self._result(node, "Sigmoid", [self._real(node.input)])
            case Tanh():
                self._result(node, "Tanh", [self._real(node.input)])
            case Concat():
                self._move(node, "Concat", axis=self._axis(node.axis, node.output))
            case Slice():
                axis = self._axis(node.axis, node.output)
                bounds = (node.begin, node.begin + node.size, axis)
                self._move(node, "Slice", [self._initializer(f"int_{i}", np.array([i], np.int64)) for i in bounds])
            case MaxPool():
                self._move(node, "MaxPool", kernel_shape=[2, 2], strides=[2, 2])
            case Reshape():
                self._rows(node)
            case Fold() | Unfold():
                self._reshaped(node)
            case GRU():
                self._gru(node)
            case _:
                raise NotImplementedError(type(node).__name__)

    def _axis(self, axis: int, tensor: str) -> int:
        return (3, 2, 1)[axis] if len(self.graph.shapes[tensor]) == 3 else axis

    def _shape(self, shape: Shape) -> str:
        return self._initializer("shape_" + "x".join(map(str, shape)), np.array(shape, np.int64))

    def _conv(self, node: Conv) -> None:
        (low, high), (before, after) = node.padding
        weight = np.ascontiguousarray(node.weight.transpose(3, 2, 1, 0))
        attributes = {
            "kernel_shape": weight.shape[2:],
            "strides": node.stride[::-1],
            "pads": [before, low, after, high],
            "group": len(weight) if node.depthwise else 1,
        }
        if self.scheme.activations == "dynamic" and not node.depthwise:
            self._dynamic_conv(node, weight, attributes)
            return
        operands = self._operands(node, weight)
        self._result(node, "Conv", [self._real(node.input), *operands], relu=node.relu, **attributes)

    def _operands(self, node: Conv | Linear, weight: npt.NDArray[np.float32]) -> list[str]:
        """Weight, output channels first, and bias of a layer; from integers where it computes in integers."""
        names = f"{node.output}_w", f"{node.output}_b"
        if node.input not in self.grids or node.output not in self.grids:
            return [self._weight(names[0], weight), self._initializer(names[1], node.bias)]
        integers = quantise_weight(weight, node.bias, 0, self.grids[node.input])
        scales = integers.bias_scales(self.grids[node.input])
        values = (integers.values.astype(np.int16) + 128).astype(np.uint8)
        return [
            self._dequantised(names[0], values, integers.scales),
            self._dequantised(names[1], integers.bias.astype(np.int32), scales),
        ]

    def _dequantised(self, name: str, values: npt.NDArray[Any], scales: npt.NDArray[np.float32]) -> str:
        zero = np.full(len(scales), 128 if values.dtype == np.uint8 else 0, values.dtype)
        inputs = [
            self._initializer(f"{name}_q", values),
            self._initializer(f"{name}_s", scales),
            self._initializer(f"zeros_{values.dtype}_{len(scales)}", zero),
        ]
        return self._emit("DequantizeLinear", inputs, name, axis=0)

    def _dynamic_conv(self, node: Conv, weight: npt.NDArray[np.float32], attributes: dict[str, Any]) -> None:
        """Integers of the input on a grid of its own at each step, integer products, real results."""
        name = node.output
        if f"{node.input}_dynamic" not in self.integer:
            inputs = [self._real(node.input)]
            outputs = [f"{node.input}_dynamic", f"{node.input}_dynamic_s", f"{node.input}_dynamic_zero"]
            self.nodes.append(self.onnx.helper.make_node("DynamicQuantizeLinear", inputs, outputs))
            self.integer[outputs[0]] = outputs[0]
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
        real = self._emit("Cast", [products], f"{name}_cast", to=self.onnx.TensorProto.FLOAT)
        channels = self._initializer(f"{name}_w_s", scales.reshape(1, -1, 1, 1))
        step = self._emit("Mul", [f"{node.input}_dynamic_s", channels], f"{name}_step")
        scaled = self._emit("Mul", [real, step], f"{name}_scaled")
        bias = self._initializer(f"{name}_b", node.bias.reshape(1, -1, 1, 1))
        self._result(node, "Add", [scaled, bias], relu=node.relu)

    def _rows(self, node: Reshape) -> None:
        """(1, channel, rows, 1) → (rows, channel)."""
        table, get = (self.integer, self._integer) if node.output in self.grids else (self.real, self._real)
        source = get(node.input)
        if node.shape[0] > 1:
            source = self._emit("Transpose", [source], f"{node.output}_last", perm=[0, 2, 3, 1])
        table[node.output] = self._emit("Reshape", [source, self._shape(node.shape)], node.output)

    def _reshaped(self, node: Fold | Unfold) -> None:
        """Blocks of mel rows as channels, or back: a reshape where channels are last."""
        table, get = (self.integer, self._integer) if node.output in self.grids else (self.real, self._real)
        source, name = get(node.input), node.output
        if isinstance(node, Fold) and any(node.padding):
            before, after = node.padding
            zero = (
                self._affine(node.input)[1] if node.output in self.grids else self._initializer("zero", np.float32(0))
            )
            pads = self._initializer(f"{name}_pads", np.array([0, 0, 0, before, 0, 0, 0, after], np.int64))
            source = self._emit("Pad", [source, pads, zero], f"{name}_padded")
        last = self._emit("Transpose", [source], f"{name}_last", perm=[0, 2, 3, 1])
        shape = self._shape(laid_out(self.graph.shapes[name], "channels_last"))
        blocks = self._emit("Reshape", [last, shape], f"{name}_blocks")
        table[name] = self._emit("Transpose", [blocks], f"{name}_first", perm=[0, 3, 1, 2])

    def _gru(self, node: GRU) -> None:
        n, name = node.units, node.output
        order = np.r_[n : 2 * n, 0:n, 2 * n : 3 * n]  # torch: r, z, n; ONNX: z, r, h
        rows, inputs = self.graph.shapes[node.input]
        bias = np.concatenate((node.bias[order], node.recurrent_bias[order]))[None]
        operands = [
            self._emit("Reshape", [self._real(node.input), self._shape((rows, 1, inputs))], f"{name}_sequence"),
            self._weight(f"{name}_w", node.weight[order][None]),
            self._weight(f"{name}_recurrent", node.recurrent[order][None]),
            self._initializer(f"{name}_b", bias),
            "",
            self._emit("Reshape", [self._real(node.hidden), self._shape((1, 1, n))], f"{name}_initial"),
        ]
        self._emit("GRU", operands, f"{name}_all", hidden_size=n, linear_before_reset=1)
        self.real[name] = self._emit("Reshape", [f"{name}_all", self._shape((rows, n))], name)


def _equal_rows(value: npt.NDArray[np.float32]) -> int:
    """How many neighbours along the last axis are equal, everywhere and in blocks of as many."""
    size = value.shape[-1]
    changes = np.flatnonzero((value[..., 1:] != value[..., :-1]).reshape(-1, size - 1).any(axis=0)) + 1
    return int(np.gcd.reduce([size, *changes])) if size > 1 else 1


def _without_identities(nodes: list[Any], outputs: set[str]) -> list[Any]:
    """Give a graph output's name to the node that computes it, where that node has one output read through Identity."""
    producers = {node.output[0]: node for node in nodes if len(node.output) == 1}
    renamed: dict[str, str] = {}
    kept = []
    for node in nodes:
        source = node.input[0] if node.op_type == "Identity" else ""
        if source in producers and source not in outputs and source not in renamed:
            renamed[source] = node.output[0]
        else:
            kept.append(node)
    for node in kept:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = renamed.get(name, name)
    return kept
