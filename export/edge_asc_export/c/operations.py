"""The operations of a network as calls of kernels, with their tables."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edge_asc.contract import Affine
from edge_asc.errors import ExportError
from edge_asc_export.c.arithmetic import lookup_table, pack_dense, pack_depthwise
from edge_asc_export.c.storage import Place, View, dimensions, join_runs
from edge_asc_export.c.text import comment, float_literal, identifier, shape_text, table
from edge_asc_export.graph import Add, Conv2D, Linear, MaxPool, Multiply, Node, Sigmoid, Tanh
from edge_asc_export.integer import add_constants, product_scale
from edge_asc_export.pipeline import Lowered


@dataclass
class Operation:
    """Lines of C, and the scratch memory that they read or write."""

    lines: list[str]
    memory: set[str] = field(default_factory=set)


class OperationWriter:
    """Writes operations whose inputs and outputs have their place in memory.

    Attributes:
        tables: definitions of constants.
        kernels: names of those that are called.
        operations: written so far.
        sizes: elements of each tensor in the scratch memory, and whether they are integers.
        most_taps: of a convolution with padding.
    """

    def __init__(self, lowered: Lowered) -> None:
        self.graph, self.qparams = lowered.graph, lowered.qparams
        self.tables: list[str] = []
        self.kernels: set[str] = set()
        self.operations: list[Operation] = []
        self.sizes: dict[str, tuple[int, bool]] = {}
        self.most_taps = 1

    def _allocate(self, name: str, count: int, *, integer: bool) -> str:
        name = identifier(name)
        while name in self.sizes or name in ("features", "states", "logits", "bytes", "scratch"):
            name += "_"
        self.sizes[name] = (count, integer)
        return name

    def _begin(self, title: str, *views: View) -> None:
        """Begin an operation that reads and writes some tensors."""
        self.operations.append(Operation([comment(title)]))
        self._touch(*views)

    def _touch(self, *views: View) -> None:
        memory = {column.memory for view in views for column in view.columns}
        self.operations[-1].memory |= memory & self.sizes.keys()

    def _line(self, text: str) -> None:
        wrapped = textwrap.wrap(text, 108, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
        self.operations[-1].lines += wrapped

    def _add_table(self, name: str, values: npt.NDArray[np.generic]) -> str:
        self.tables.append(table(name, values))
        return name

    def _shape(self, tensor: str) -> str:
        mels, times, channels = dimensions(self.graph.shapes[tensor])
        return shape_text((times, mels, channels))

    def _write_operation(self, node: Node, inputs: Sequence[View], y: View) -> None:
        suffix = "int8" if y.integer else "float"
        self._begin(f"{node.output}: {_describe(node, suffix)}; {self._shape(node.output)}", y, *inputs)
        match node:
            case Conv2D() if node.depthwise:
                self._depthwise(node, inputs[0], y, suffix)
            case Conv2D() | Linear():
                self._dense(node, inputs[0], y, suffix)
            case Add():
                self._add(node, inputs, y, suffix)
            case Multiply():
                self._multiply(node, inputs, y, suffix)
            case Sigmoid() | Tanh():
                self._apply(node, inputs[0], y)
            case MaxPool():
                self._max_pool(inputs[0], y, suffix)

    def _quantised(self, node: Node) -> tuple[list[Affine], Affine]:
        return [self.qparams[tensor] for tensor in node.inputs], self.qparams[node.output]

    def _layer(self, node: Conv2D | Linear, suffix: str) -> str:
        """Add the tables of a layer; return its initialiser."""
        source = self.qparams[node.input] if suffix == "int8" else None
        target = self.qparams[node.output] if suffix == "int8" else None
        if isinstance(node, Conv2D) and node.depthwise:
            tables, rest = pack_depthwise(node, source, target)
        else:
            tables, rest = pack_dense(node, source, target)
        name = identifier(node.output)
        names = [self._add_table(f"{name}_{label}", values) for label, values in tables.items()]
        return f"{{{', '.join(names)}, {rest}}}"

    def _define(self, kind: str, name: str, value: str) -> None:
        text = f"static const {kind}_layer {name}_layer = {value};"
        self.tables.append("\n".join(textwrap.wrap(text, 116, subsequent_indent="    ")) + "\n")

    def _dense(self, node: Conv2D | Linear, x: View, y: View, suffix: str) -> None:
        name = identifier(node.output)
        initialiser = self._layer(node, suffix)
        pointer = f"const {'int8_t' if suffix == 'int8' else 'float'} *const[]"
        if isinstance(node, Linear) or (node.weight.shape[:2] == (1, 1) and not any(map(any, node.padding))):
            stride = (1, 1) if isinstance(node, Linear) else node.stride
            self._define(f"dense_{suffix}", name, initialiser)
            self.kernels.add(f"dense_{suffix}")
            pieces = [((x.columns[t * stride[1]], column), y.mels) for t, column in enumerate(y.columns)]
            step = stride[0] * x.channels
            runs = join_runs(pieces, (step, y.channels)) if stride[0] * y.mels == x.mels else pieces
            for (source, target), count in runs:
                self._line(f"dense_{suffix}(&{name}_layer, ({pointer}){{{source}}}, {step}, {target}, {count});")
            return
        kernel_mel, kernel_time = node.weight.shape[:2]
        self._check_time(node, len(x.columns), len(y.columns))
        if any(node.padding[0]):
            before = node.padding[0][0]
            sizes = (x.channels, x.mels, kernel_mel, node.stride[0], before, y.mels)
            zero = self.qparams[node.input].zero_point if suffix == "int8" else 0
            self._define(f"convolve_dense_{suffix}", name, f"{{{initialiser}, {', '.join(map(str, sizes))}, {zero}}}")
            self.kernels.add(f"convolve_dense_{suffix}")
            self.most_taps = max(self.most_taps, kernel_time)
            edge = self._allocate(f"{node.output}_edge", kernel_time * (kernel_mel * x.channels + 4), integer=y.integer)
            self._touch(View((Place(edge),), 1, 1, y.integer))
        else:
            self._define(f"dense_{suffix}", name, initialiser)
            self.kernels.add(f"dense_{suffix}")
        for time, target in enumerate(y.columns):
            begin = time * node.stride[1]
            columns = ", ".join(map(str, x.columns[begin : begin + kernel_time]))
            if any(node.padding[0]):
                self._line(f"convolve_dense_{suffix}(&{name}_layer, ({pointer}){{{columns}}}, {edge}, {target});")
            else:
                step = node.stride[0] * x.channels
                self._line(f"dense_{suffix}(&{name}_layer, ({pointer}){{{columns}}}, {step}, {target}, {y.mels});")

    def _depthwise(self, node: Conv2D, x: View, y: View, suffix: str) -> None:
        name = identifier(node.output)
        initialiser = self._layer(node, suffix)
        pointer = f"const {'int8_t' if suffix == 'int8' else 'float'} *const[]"
        kernel_mel, kernel_time = node.weight.shape[:2]
        self._check_time(node, len(x.columns), len(y.columns))
        if any(node.padding[0]):
            sizes = (x.mels, kernel_mel, kernel_time, node.stride[0], node.padding[0][0], y.mels)
            self._define(f"convolve_depthwise_{suffix}", name, f"{{{initialiser}, {', '.join(map(str, sizes))}}}")
            self.kernels.add(f"convolve_depthwise_{suffix}")
            self.most_taps = max(self.most_taps, kernel_mel * kernel_time)
            zeros = self._allocate(f"{node.output}_zeros", x.channels, integer=y.integer)
            self._touch(View((Place(zeros),), 1, 1, y.integer))
            fill, item = (self.qparams[node.input].zero_point, 1) if y.integer else (0, 4)
            self._line(f"memset({zeros}, {fill}, {x.channels * item});")
        else:
            self._define(f"depthwise_{suffix}", name, initialiser)
            self.kernels.add(f"depthwise_{suffix}")
        for time, target in enumerate(y.columns):
            begin = time * node.stride[1]
            columns = x.columns[begin : begin + kernel_time]
            if any(node.padding[0]):
                listed = ", ".join(map(str, columns))
                self._line(f"convolve_depthwise_{suffix}(&{name}_layer, ({pointer}){{{listed}}}, {zeros}, {target});")
            else:
                taps = [column + mel * x.channels for column in columns for mel in range(kernel_mel)]
                listed, step = ", ".join(map(str, taps)), node.stride[0] * x.channels
                self._line(f"depthwise_{suffix}(&{name}_layer, ({pointer}){{{listed}}}, {step}, {target}, {y.mels});")

    def _check_time(self, node: Conv2D, columns: int, results: int) -> None:
        if any(node.padding[1]) or (results - 1) * node.stride[1] + node.weight.shape[1] > columns:
            raise ExportError(f"{node.output}: a convolution with padding in time has no C form")

    def _add(self, node: Add, inputs: Sequence[View], y: View, suffix: str) -> None:
        if suffix == "int8":
            name = identifier(node.output)
            sources, target = self._quantised(node)
            constants = add_constants(sources[0], sources[1], target, relu=node.relu)
            self._define("add_int8", name, f"{{{', '.join(map(str, constants))}}}")
            self._element_wise("add_int8", f"&{name}_layer, ", inputs, y)
        else:
            self._element_wise("add_relu_float" if node.relu else "add_float", "", inputs, y)

    def _multiply(self, node: Multiply, inputs: Sequence[View], y: View, suffix: str) -> None:
        if suffix == "float":
            self._element_wise("multiply_float", "", inputs, y)
            return
        name = identifier(node.output)
        (left, right), target = self._quantised(node)
        scale = float(product_scale(left, right, target))
        fields = (left.zero_point, right.zero_point, float_literal(scale), target.zero_point)
        self._define("multiply_int8", name, f"{{{', '.join(map(str, fields))}}}")
        self._element_wise("multiply_int8", f"&{name}_layer, ", inputs, y)

    def _element_wise(self, kernel: str, layer: str, inputs: Sequence[View], y: View) -> None:
        """Call an operation of two tensors, of which one may have one row for all, or one column."""
        self.kernels.add(kernel)
        if any(x.channels != y.channels or x.mels not in (1, y.mels) for x in inputs):
            raise ExportError(f"{y.columns[0].memory}: operands of these shapes have no C form")
        places = [tuple(x.columns[time if len(x.columns) > 1 else 0] for x in inputs) for time in range(len(y.columns))]
        pieces = [((*sources, target), y.size) for sources, target in zip(places, y.columns, strict=True)]
        if all(x.mels == y.mels for x in inputs):
            for (left, right, target), count in join_runs(pieces, (1, 1, 1)):
                self._line(f"{kernel}({layer}{left}, {right}, {target}, {count});")
            return
        for (left, right, target), _ in pieces:
            operands = [
                f"{place} + mel * {y.channels}" if x.mels == y.mels else str(place)
                for x, place in zip(inputs, (left, right), strict=True)
            ]
            self._line(f"for (size_t mel = 0; mel < {y.mels}; mel++) {{")
            call = f"{kernel}({layer}{', '.join(operands)}, {target} + mel * {y.channels}, {y.channels});"
            self.operations[-1].lines += [f"    {call}", "}"]

    def _apply(self, node: Sigmoid | Tanh, x: View, y: View) -> None:
        pieces = [((source, target), y.size) for source, target in zip(x.columns, y.columns, strict=True)]
        runs = join_runs(pieces, (1, 1))
        if y.integer:
            name = f"{identifier(node.output)}_table"
            self._add_table(name, lookup_table(node, self.qparams[node.input], self.qparams[node.output]))
            self.kernels.add("lookup_int8")
            for (source, target), count in runs:
                self._line(f"lookup_int8({name}, {source}, {target}, {count});")
            return
        kernel = "sigmoid_float" if isinstance(node, Sigmoid) else "tanh_float"
        self.kernels.add(kernel)
        for (source, target), count in runs:
            self._line(f"{kernel}({source}, {target}, {count});")

    def _max_pool(self, x: View, y: View, suffix: str) -> None:
        self.kernels.add(f"max_pool_{suffix}")
        for time, target in enumerate(y.columns):
            first, second = x.columns[2 * time], x.columns[2 * time + 1]
            self._line(f"max_pool_{suffix}({first}, {second}, {y.channels}, {target}, {y.mels});")


def _describe(node: Node, arithmetic: str) -> str:
    match node:
        case Conv2D():
            kind = "depthwise convolution" if node.depthwise else "convolution"
            inputs, outputs = node.weight.shape[2:]
            width = f"{outputs}" if node.depthwise else f"{inputs} to {outputs}"
            kernel, stride = shape_text(node.weight.shape[:2]), shape_text(node.stride)
            text = f"{kind} in {arithmetic}, {kernel}, stride {stride}, {width} channels"
            return text + (", ReLU" if node.relu else "")
        case Linear():
            return f"linear in {arithmetic}, {node.weight.shape[1]} to {node.weight.shape[0]}"
        case Add():
            return f"sum in {arithmetic}" + (", ReLU" if node.relu else "")
        case Multiply():
            return f"product in {arithmetic}"
        case Sigmoid():
            return f"sigmoid in {arithmetic}"
        case Tanh():
            return f"tanh in {arithmetic}"
        case _:
            return f"maximum of 2 x 2 in {arithmetic}"
