"""The network of a step as C: a function that updates the states in place, and its tables.

    static void PREFIX_network(const float *features, PREFIX_states *states, float *logits);

A tensor is columns of time, each rows of mel bins, each row its channels. What joins and cuts tensors in time is not
computed: a convolution reads its columns where they are, in a state or in the scratch memory of the step. A state takes
its new columns after the last operation that reads the old ones.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from edge_asc.contract import Affine
from edge_asc.errors import ExportError
from edge_asc_export.c.arithmetic import add_constants, lookup_table, pack_dense, pack_depthwise
from edge_asc_export.c.kernels import kernel_sources
from edge_asc_export.c.part import CPart
from edge_asc_export.c.storage import Block, Place, View, dimensions, join_runs, plan_memory
from edge_asc_export.c.text import comment, float_literal, identifier, shape_text, table
from edge_asc_export.graph import (
    Add,
    Concat,
    Conv2D,
    Fold,
    Linear,
    MaxPool,
    Multiply,
    Node,
    Port,
    Reshape,
    Sigmoid,
    Slice,
    Tanh,
    Unfold,
)
from edge_asc_export.pipeline import Lowered

# Operations that only move values.
MOVES = (Concat, Slice, Fold, Unfold, Reshape)
# Elements that a dense layer may read behind its inputs.
SLACK = 16


@dataclass
class _Operation:
    """Lines of C, and the scratch memory that they read or write."""

    lines: list[str]
    memory: set[str] = field(default_factory=set)


def write_network(lowered: Lowered, prefix: str) -> CPart:
    """Write the network of a causal model's step, after the passes of the format.

    Args:
        lowered: the graph and its quantisation parameters.
        prefix: of public names, a C identifier.

    Raises:
        ExportError: the graph has an operation, or an arrangement of one, that has no C form.
    """
    return _NetworkWriter(lowered, prefix).write()


class _NetworkWriter:
    """Writes one graph, operation by operation."""

    def __init__(self, lowered: Lowered, prefix: str) -> None:
        self.graph, self.qparams, self.prefix = lowered.graph, lowered.qparams, prefix
        self.views: dict[str, View] = {}
        self.floats: dict[str, View] = {}
        self.tables: list[str] = []
        self.kernels: set[str] = set()
        self.operations: list[_Operation] = []
        self.sizes: dict[str, tuple[int, bool]] = {}
        self.most_taps = 1
        self.hosts = self._find_hosts()

    def write(self) -> CPart:
        self._add_inputs()
        self._add_constants()
        updates = self._plan_updates()
        for node in self.graph.nodes:
            self._write_node(node)
            for source, target in updates.get(node.output, ()):
                self._update_state(source, target)
        logits = next(port for port in self.graph.outputs if port.role == "logits")
        self._write_logits(logits)
        return CPart(self._header(), self._source())

    # Interface

    def _states(self) -> list[Port]:
        return [port for port, _ in self.graph.states()]

    def _header(self) -> str:
        lines = [f"/* What {self.prefix} carries from one step to the next. */", "typedef struct {"]
        for port in self._states():
            mels, times, channels = dimensions(self.graph.shapes[port.tensor])
            kind = "int8_t" if port.tensor in self.qparams else "float"
            note = f"{times} x {mels} x {channels}: time, mel, channel" if mels > 1 else f"{times} x {channels}"
            if qparams := self.qparams.get(port.tensor):
                note += f"; scale {float_literal(qparams.scale)}, zero point {qparams.zero_point}"
            lines.append(f"    {kind} {identifier(port.name)}[{times * mels * channels}]; /* {note} */")
        if not self._states():
            lines.append("    int8_t none;")
        lines.append("    int8_t slack[4]; /* kernels read groups of four values */")
        lines.append(f"}} {self.prefix}_states;")
        lines += ["", "/* Set the states to those before the first sample: zeros, as integers stand for them. */"]
        lines.append(f"void {self.prefix}_reset_states({self.prefix}_states *states);")
        return "\n".join(lines) + "\n"

    def _source(self) -> str:
        kernels = kernel_sources(self.kernels)
        taps = f"enum {{ MOST_TAPS = {self.most_taps} }}; /* of a convolution with padding */\n\n"
        parts = [
            *([taps] if "MOST_TAPS" in kernels else []),
            kernels,
            "\n",
            "\n".join(self.tables),
            "\n",
            self._reset(),
            "\n",
            self._function(),
        ]
        return "".join(parts)

    def _reset(self) -> str:
        lines = [f"void {self.prefix}_reset_states({self.prefix}_states *states)", "{"]
        lines.append("    memset(states, 0, sizeof *states);")
        for port in self._states():
            qparams = self.qparams.get(port.tensor)
            if qparams and qparams.zero_point:
                name = f"states->{identifier(port.name)}"
                lines.append(f"    memset({name}, {qparams.zero_point}, sizeof {name});")
        lines.append("}")
        return "\n".join(lines) + "\n"

    def _function(self) -> str:
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        for index, operation in enumerate(self.operations):
            for name in operation.memory:
                first.setdefault(name, index)
                last[name] = index
        blocks = [
            Block(name, count if integer else 4 * count, first[name], last[name])
            for name, (count, integer) in self.sizes.items()
            if name in first
        ]
        offsets, total = plan_memory(blocks)
        floats = (total + SLACK) // 4
        lines = [
            f"/* Tensors of a step; they share {total} bytes. */",
            f"static float scratch[{floats}];",
            "",
            "/* One step: features are 8 frames, one after another, each its mel bins from the lowest; logits are in",
            "   the order of the labels, before the temperature. */",
            f"static void {self.prefix}_network(const float *features, {self.prefix}_states *states, float *logits)",
            "{",
        ]
        if any(integer for _, integer in self.sizes.values()):
            lines.append("    int8_t *const bytes = (int8_t *)scratch;")
        for block in sorted(blocks, key=lambda block: block.first):
            integer = self.sizes[block.name][1]
            base = "bytes" if integer else "scratch"
            at = offsets[block.name] if integer else offsets[block.name] // 4
            lines.append(f"    {'int8_t' if integer else 'float'} *const {block.name} = {base} + {at};")
        for operation in self.operations:
            lines += ["", *(f"    {line}" for line in operation.lines)]
        lines.append("}")
        return "\n".join(lines) + "\n"

    # Memory

    def _allocate(self, name: str, count: int, *, integer: bool) -> str:
        name = identifier(name)
        while name in self.sizes or name in ("features", "states", "logits", "bytes", "scratch"):
            name += "_"
        self.sizes[name] = (count, integer)
        return name

    def _is_integer(self, node: Node) -> bool:
        return all(tensor in self.qparams for tensor in (node.output, *node.inputs))

    def _output_view(self, tensor: str) -> View:
        """Return new memory for a tensor that an operation writes, inside that of its host if it has one."""
        if tensor in self.views:
            return self.views[tensor]
        shape = self.graph.shapes[tensor]
        if tensor in self.hosts:
            host, elements = self.hosts[tensor]
            view = self._output_view(host)
            mels, _, channels = dimensions(shape)
            self.views[tensor] = replace(view.shifted(elements, mels), channels=channels)
        else:
            integer = tensor in self.qparams
            mels, times, channels = dimensions(shape)
            name = self._allocate(tensor, mels * times * channels, integer=integer)
            self.views[tensor] = View.whole(name, shape, integer=integer)
        return self.views[tensor]

    def _find_hosts(self) -> dict[str, tuple[str, int]]:
        """Return tensors that are written straight into the tensor that they become a part of, and where."""
        graph, hosts = self.graph, dict[str, tuple[str, int]]()
        written = {node.output for node in graph.nodes if not isinstance(node, MOVES)}
        written |= {port.tensor for port in graph.inputs if port.role == "features" and port.tensor in self.qparams}
        outputs = {port.tensor for port in graph.outputs}

        def is_part(tensor: str, whole: str) -> bool:
            alone = len(list(graph.consumers(tensor))) == 1 and tensor not in outputs
            return tensor in written and alone and (tensor in self.qparams) == (whole in self.qparams)

        for node in graph.nodes:
            elements = 0
            if isinstance(node, Fold) and is_part(node.input, node.output):
                hosts[node.input] = (node.output, node.padding[0] * graph.shapes[node.input][2])
            elif isinstance(node, Concat) and len(graph.shapes[node.output]) == 3 and node.axis == 0:
                for part in node.parts:
                    if is_part(part, node.output):
                        hosts[part] = (node.output, elements)
                    elements += graph.shapes[part][0] * graph.shapes[part][2]
        return hosts

    def _operand(self, tensor: str, *, integer: bool) -> View:
        """Return a tensor as integer operations read it, or in float."""
        view = self.views[tensor]
        if integer or not view.integer:
            return view
        if tensor not in self.floats:
            qparams = self.qparams[tensor]
            mels, times, channels = dimensions(self.graph.shapes[tensor])
            name = self._allocate(f"{tensor}_float", mels * times * channels, integer=False)
            result = View.whole(name, self.graph.shapes[tensor], integer=False)
            self.floats[tensor] = result
            self._begin(f"{tensor}: to float", result, view)
            self._dequantise(view, result, qparams)
        return self.floats[tensor]

    def _dequantise(self, view: View, result: View, qparams: Affine) -> None:
        self.kernels.add("dequantise")
        pairs = [((x, y), view.size) for x, y in zip(view.columns, result.columns, strict=True)]
        for (x, y), count in join_runs(pairs, (1, 1)):
            self._line(f"dequantise({x}, {float_literal(qparams.scale)}, {qparams.zero_point}, {y}, {count});")

    # Operations

    def _begin(self, title: str, *views: View) -> None:
        """Begin an operation that reads and writes some tensors."""
        self.operations.append(_Operation([comment(title)]))
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

    def _add_constants(self) -> None:
        """Add tables of the constants, each with all rows and channels of the tensor that it is computed with."""
        for node in self.graph.nodes:
            for name in node.inputs:
                if name not in self.graph.constants or name in self.views:
                    continue
                if name in self.qparams:
                    raise ExportError(f"{name}: an integer constant has no C form; export to TFLite or ONNX")
                value, shape = self.graph.constants[name], self.graph.shapes[node.output]
                if len(shape) == 3:
                    value = np.broadcast_to(value, (shape[0], value.shape[1], shape[2]))
                label = f"{identifier(name)}_constant"
                self._add_table(label, np.ascontiguousarray(value.transpose(1, 0, 2) if value.ndim == 3 else value))
                self.views[name] = View.whole(label, value.shape, integer=False)

    def _add_inputs(self) -> None:
        for port in self.graph.inputs:
            shape = self.graph.shapes[port.tensor]
            if port.role == "state":
                name = f"states->{identifier(port.name)}"
                self.views[port.tensor] = View.whole(name, shape, integer=port.tensor in self.qparams)
            elif port.role == "features":
                source = View.whole("features", shape, integer=False)
                if port.tensor not in self.qparams:
                    self.views[port.tensor] = source
                    continue
                view = self._output_view(port.tensor)
                self._begin(f"{port.tensor}: to int8; {self._shape(port.tensor)}", view)
                self._quantise(source, view, self.qparams[port.tensor])
            else:
                raise ExportError(f"{port.name}: C takes features; export without --input")

    def _quantise(self, source: View, view: View, qparams: Affine) -> None:
        self.kernels.add("quantise")
        inverse = float_literal(float(np.float32(1.0) / np.float32(qparams.scale)))
        pairs = [((x, y), view.size) for x, y in zip(source.columns, view.columns, strict=True)]
        for (x, y), count in join_runs(pairs, (1, 1)):
            self._line(f"quantise({x}, {inverse}, {qparams.zero_point}, {y}, {count});")

    def _shape(self, tensor: str) -> str:
        mels, times, channels = dimensions(self.graph.shapes[tensor])
        return shape_text((times, mels, channels))

    def _write_node(self, node: Node) -> None:
        match node:
            case Concat():
                self._join(node)
            case Slice():
                self._cut(node)
            case Fold():
                self._fold(node)
            case Unfold():
                view = self.views[node.input]
                self.views[node.output] = replace(
                    view, mels=view.mels * node.factor, channels=view.channels // node.factor
                )
            case Reshape():
                view = self.views[node.input]
                if view.mels != 1 or node.shape != (len(view.columns), view.channels):
                    raise ExportError(f"{node.output}: a reshape over mel has no C form")
                self.views[node.output] = view
            case Conv2D() | Linear() | Add() | Multiply() | Sigmoid() | Tanh() | MaxPool():
                self._compute(node)
            case _:
                raise ExportError(f"a {type(node).__name__} has no C form; export without --input")

    def _compute(self, node: Node) -> None:
        """Write an operation in integers, or in float with its output rounded where that is an integer tensor."""
        integer = self._is_integer(node)
        inputs = [self._operand(tensor, integer=integer) for tensor in node.inputs]
        if integer or node.output not in self.qparams:
            self._write_operation(node, inputs, self._output_view(node.output))
            return
        mels, times, channels = dimensions(self.graph.shapes[node.output])
        name = self._allocate(f"{node.output}_exact", mels * times * channels, integer=False)
        exact = View.whole(name, self.graph.shapes[node.output], integer=False)
        self._write_operation(node, inputs, exact)
        view = self._output_view(node.output)
        self._begin(f"{node.output}: to int8; {self._shape(node.output)}", exact, view)
        self._quantise(exact, view, self.qparams[node.output])

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

    # What only moves values

    def _join(self, node: Concat) -> None:
        parts = [self.views[part] for part in node.parts]
        in_time = node.axis == 1 if len(self.graph.shapes[node.output]) == 3 else node.axis == 0
        if in_time:
            columns = tuple(column for part in parts for column in part.columns)
            self.views[node.output] = replace(parts[0], columns=columns)
            return
        if node.axis != 0:
            raise ExportError(f"{node.output}: joined channels have no C form")
        whole = self._output_view(node.output)
        moved = [part for part in node.parts if part not in self.hosts]
        if not moved:
            return
        self._begin(f"{node.output}: joined", whole, *(self.views[part] for part in moved))
        elements = 0
        for name, part in zip(node.parts, parts, strict=True):
            if name in moved:
                for source, target in zip(part.columns, whole.columns, strict=True):
                    self._copy(target + elements, source, part)
            elements += part.size

    def _cut(self, node: Slice) -> None:
        view = self.views[node.input]
        axis = node.axis if len(self.graph.shapes[node.input]) == 3 else node.axis + 1
        if axis == 0:
            view = view.shifted(node.begin * view.channels, node.size)
        elif axis == 1:
            view = replace(view, columns=view.columns[node.begin : node.begin + node.size])
        elif view.mels == 1:
            view = replace(view.shifted(node.begin, 1), channels=node.size)
        else:
            raise ExportError(f"{node.output}: a slice of channels over mel has no C form")
        self.views[node.output] = view

    def _fold(self, node: Fold) -> None:
        whole = self._output_view(node.output)
        source = self.views[node.input]
        before, after = (rows * source.channels for rows in node.padding)
        self._begin(f"{node.output}: padding of mel; {self._shape(node.output)}", whole, source)
        fill = self.qparams[node.output].zero_point if whole.integer else 0
        item = 1 if whole.integer else 4
        for column, part in zip(whole.columns, source.columns, strict=True):
            if before:
                self._line(f"memset({column}, {fill}, {before * item});")
            if node.input not in self.hosts:
                self._copy(column + before, part, source)
            if after:
                self._line(f"memset({column + (before + source.size)}, {fill}, {after * item});")

    def _copy(self, target: Place, source: Place, view: View) -> None:
        self._line(f"memcpy({target}, {source}, {view.size * (1 if view.integer else 4)});")

    # What computes

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
        scale = np.float32(left.scale) * np.float32(right.scale) / np.float32(target.scale)
        fields = (left.zero_point, right.zero_point, float_literal(float(scale)), target.zero_point)
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

    # States and logits

    def _plan_updates(self) -> Mapping[str, list[tuple[str, str]]]:
        """Return which states take their new values after which operation: the last that reads the old ones."""
        position = {node.output: index for index, node in enumerate(self.graph.nodes)}
        updates: dict[str, list[tuple[str, str]]] = {}
        for port, target in self.graph.states():
            aliases, last = {port.tensor}, position.get(target.tensor, 0)
            for node in self.graph.nodes:
                if aliases & set(node.inputs):
                    last = max(last, position[node.output])
                    if isinstance(node, MOVES):
                        aliases.add(node.output)
            updates.setdefault(self.graph.nodes[last].output, []).append((target.tensor, port.tensor))
        return updates

    def _update_state(self, source: str, target: str) -> None:
        new, old = self.views[source], self.views[target]
        if new.columns == old.columns:
            return
        self._begin(f"{target}: next state", new)
        item = 1 if old.integer else 4
        for (x, y), count in join_runs(
            [((x, y), old.size) for x, y in zip(new.columns, old.columns, strict=True)], (1, 1)
        ):
            overlapping = x.memory == y.memory and abs(x.offset - y.offset) < count
            self._line(f"{'memmove' if overlapping else 'memcpy'}({y}, {x}, {count * item});")

    def _write_logits(self, port: Port) -> None:
        view = self.views[port.tensor]
        result = View.whole("logits", self.graph.shapes[port.tensor], integer=False)
        self._begin(f"{port.name}: of the labels, in their order", view)
        if view.integer:
            self._dequantise(view, result, self.qparams[port.tensor])
        else:
            self._line(f"memcpy(logits, {view.columns[0]}, {view.size * 4});")


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
