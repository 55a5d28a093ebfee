"""The network of a step as C: a function that updates the states in place, and its tables.

    static void PREFIX_network(const float *features, PREFIX_states *states, float *logits);

A tensor is columns of time, each rows of mel bins, each row its channels. What joins and cuts tensors in time is not
computed: a convolution reads its columns where they are, in a state or in the scratch memory of the step. A state takes
its new columns after the last operation that reads the old ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edge_asc.contract import Affine
from edge_asc.errors import ExportError
from edge_asc_export.c.kernels import kernel_sources
from edge_asc_export.c.operations import OperationWriter
from edge_asc_export.c.part import CPart
from edge_asc_export.c.storage import Block, Place, View, dimensions, join_runs, plan_memory
from edge_asc_export.c.text import float_literal, identifier
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


def write_network(lowered: Lowered, prefix: str) -> CPart:
    """Write the network of a causal model's step, after the passes of the format.

    Args:
        lowered: the graph and its quantisation parameters.
        prefix: of public names, a C identifier.

    Raises:
        ExportError: the graph has an operation, or an arrangement of one, that has no C form.
    """
    return _NetworkWriter(lowered, prefix).write()


class _NetworkWriter(OperationWriter):
    """Writes one graph, operation by operation."""

    def __init__(self, lowered: Lowered, prefix: str) -> None:
        super().__init__(lowered)
        self.prefix = prefix
        self.views: dict[str, View] = {}
        self.floats: dict[str, View] = {}
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
        offsets, total = plan_memory(blocks := self._blocks())
        source = self._source(self._function(blocks, offsets))
        return CPart(self._header(), source, scratch=(total + SLACK) // 4)

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

    def _source(self, function: str) -> str:
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
            function,
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

    def _blocks(self) -> list[Block]:
        """Return the memory of each tensor, and the operations from the first to the last that uses it."""
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        for index, operation in enumerate(self.operations):
            for name in operation.memory:
                first.setdefault(name, index)
                last[name] = index
        return [
            Block(name, count if integer else 4 * count, first[name], last[name])
            for name, (count, integer) in self.sizes.items()
            if name in first
        ]

    def _function(self, blocks: list[Block], offsets: dict[str, int]) -> str:
        lines = [
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
                raise ExportError(f"{port.name}: an input of this role has no C form")

    def _quantise(self, source: View, view: View, qparams: Affine) -> None:
        self.kernels.add("quantise")
        inverse = float_literal(float(np.float32(1.0) / np.float32(qparams.scale)))
        pairs = [((x, y), view.size) for x, y in zip(source.columns, view.columns, strict=True)]
        for (x, y), count in join_runs(pairs, (1, 1)):
            self._line(f"quantise({x}, {inverse}, {qparams.zero_point}, {y}, {count});")

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
                if node.shape != (len(view.columns), view.size):
                    raise ExportError(f"{node.output}: a reshape over time has no C form")
                self.views[node.output] = replace(view, mels=1, channels=view.size)
            case Conv2D() | Linear() | Add() | Multiply() | Sigmoid() | Tanh() | MaxPool():
                self._compute(node)
            case _:
                raise ExportError(f"a {type(node).__name__} has no C form")

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
            for source, target in zip(view.columns, result.columns, strict=True):
                self._line(f"memcpy({target}, {source}, {view.size * 4});")
