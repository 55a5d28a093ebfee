"""The cost model: predicted aarch64 instructions of one step in LiteRT, from a graph and its quantisation alone.

A prediction is a sum over the operations that the TFLite writer writes. Each operation contributes quantities, such as
products and moved bytes, in one of three arithmetics; each quantity costs a constant number of instructions. The
constants are counted ones: `tools/operation_costs.py` fits them to artefacts on emulated processors. Like the counts,
predictions are no measure of time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from edge_asc.errors import ExportError
from edge_asc.jsonobject import JsonObject, parse_json
from edge_asc_export.graph import (
    Binary,
    Columns,
    Concat,
    Conv2D,
    Fold,
    Graph,
    Linear,
    MaxPool,
    Node,
    Reshape,
    Shape,
    Sigmoid,
    Slice,
    Tanh,
    Unfold,
    View,
)
from edge_asc_export.pipeline import Lowered
from edge_asc_export.scheme import Scheme
from edge_asc_export.signature import to_layout
from edge_asc_export.tflite_subgraph import FEW_CHANNELS, find_padding

Arithmetic = Literal["integer", "float", "dynamic"]
# Quantities of an operation, by name; those that depend on the arithmetic begin with it.
Quantities = Counter[str]

CONSTANTS = "costs.json"
# Bytes of an element.
BYTES: Mapping[Arithmetic, int] = {"integer": 1, "float": 4, "dynamic": 4}


@dataclass(frozen=True)
class Tile:
    """The part of a matrix product that one pass of a kernel computes; what is smaller is computed as a whole tile.

    Attributes:
        rows: of the product; there is a kernel for each of these.
        columns: of the product.
        depth: products that are summed at once.
    """

    rows: tuple[int, ...]
    columns: int
    depth: int

    def choose_rows(self, rows: int) -> int:
        """Return the rows of the kernel that XNNPACK chooses for a product of so many rows."""
        if rows in self.rows:
            return rows

        def work(size: int) -> int:
            return -(-rows // size) * (3 * (size + self.columns) + size * self.columns)

        return min(reversed(self.rows), key=work)


# The kernels of XNNPACK on each processor.
TILES: Mapping[str, Mapping[Arithmetic, Tile]] = {
    "cortex-a72": {
        "integer": Tile((1, 2), 8, 8),
        "float": Tile((1, 4, 7), 8, 1),
        "dynamic": Tile((1, 2), 8, 8),
    },
    "cortex-a76": {
        "integer": Tile((1, 4), 16, 4),
        "float": Tile((1, 4, 7), 8, 1),
        "dynamic": Tile((1, 4), 16, 4),
    },
}
PROCESSORS = tuple(TILES)
DEFAULT = "cortex-a76"
# Kernel sizes of depthwise convolutions; a smaller kernel is computed as the next size.
TAPS: Mapping[Arithmetic, tuple[int, ...]] = {"integer": (3, 9, 25), "float": (3, 4, 9, 25)}
# Channels of one pass of these kernels.
LANES: Mapping[Arithmetic, int] = {"integer": 16, "float": 8}


def count_instructions(lowered: Lowered, processor: str) -> float:
    """Return the predicted instructions of LiteRT's own call for one step of a graph after the passes of TFLite.

    Raises:
        ExportError: there are no constants for the processor or the scheme.
    """
    return CostModel(lowered, processor).count()


class CostModel:
    """Predicts the instructions of one graph, whichever of its tensors stay float.

    Args:
        lowered: after the passes of TFLite; its tensors with quantisation parameters are integers.
        processor: one of PROCESSORS.

    Raises:
        ExportError: there are no constants for the processor or the scheme.
    """

    def __init__(self, lowered: Lowered, processor: str) -> None:
        graph, scheme = lowered.graph, lowered.plan.scheme
        if scheme.activations == "int16":
            raise ExportError(f"scheme {scheme.name}: int16 activations have no cost model; choose another scheme")
        constants = read_constants(processor)

        def price(quantities: Quantities) -> float:
            return sum(constants.get(name, 0.0) * quantity for name, quantity in quantities.items())

        self._step = constants.get("step", 0.0)
        self._operations = [
            (
                node.output,
                node.inputs,
                price(measure_node(graph, node, "integer", processor)),
                price(measure_node(graph, node, choose_float(node, scheme), processor)),
            )
            for node in graph.nodes
        ]
        elements = {tensor: math.prod(shape) for tensor, shape in graph.shapes.items()}
        self._quantise = {tensor: price(measure_conversion("quantised", n)) for tensor, n in elements.items()}
        self._dequantise = {tensor: price(measure_conversion("dequantised", n)) for tensor, n in elements.items()}
        self._integers = frozenset(lowered.qparams) & frozenset(graph.shapes)
        self._inputs = external_inputs(graph)
        self._outputs = external_outputs(graph)
        self._copies = dict(find_copies(graph))

    def count(self, float_tensors: Collection[str] = ()) -> float:
        """Return the predicted instructions of LiteRT's own call for one step.

        Args:
            float_tensors: names of the tensors that stay float besides those that are, all that share their
                quantisation parameters; tensors that passes added follow those that they are made of.
        """
        integers = self._integers.difference(float_tensors, *(self._copies.get(t, ()) for t in float_tensors))
        total, dequantised = self._step, set(self._outputs)
        for tensor in self._inputs & integers:
            total += self._quantise[tensor]
        for output, inputs, integer, otherwise in self._operations:
            if output in integers and integers.issuperset(inputs):
                total += integer
                continue
            total += otherwise
            dequantised.update(inputs)
            if output in integers:
                total += self._quantise[output]
        return total + sum(self._dequantise[tensor] for tensor in dequantised & integers)


def measure(lowered: Lowered, processor: str) -> Quantities:
    """Return the quantities of one step: what `CostModel.count` prices."""
    graph, scheme, qparams = lowered.graph, lowered.plan.scheme, lowered.qparams
    total, dequantised = Quantities({"step": 1.0}), set(external_outputs(graph))
    quantised = set(external_inputs(graph))
    for node in graph.nodes:
        if all(tensor in qparams for tensor in (node.output, *node.inputs)):
            total.update(measure_node(graph, node, "integer", processor))
            continue
        total.update(measure_node(graph, node, choose_float(node, scheme), processor))
        dequantised.update(node.inputs)
        quantised.add(node.output)
    for name, tensors in (("quantised", quantised), ("dequantised", dequantised)):
        for tensor in tensors & set(qparams):
            total.update(measure_conversion(name, math.prod(graph.shapes[tensor])))
    return total


def external_inputs(graph: Graph) -> frozenset[str]:
    """Return the tensors that an artefact takes in float."""
    return frozenset(port.tensor for port in graph.inputs if port.role != "state" and not port.int16)


def external_outputs(graph: Graph) -> frozenset[str]:
    """Return the tensors that an artefact gives in float."""
    return frozenset(port.tensor for port in graph.outputs if port.role != "state")


def find_copies(graph: Graph) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield tensors, each with those that passes made of it and that have its quantisation parameters."""
    for node in graph.nodes:
        if isinstance(node, Fold):
            yield node.input, (node.output,)
        if isinstance(node, Unfold):
            yield node.output, (node.input,)


def choose_float(node: Node, scheme: Scheme) -> Arithmetic:
    """Return the arithmetic of a node whose tensors are float."""
    dynamic = scheme.activations == "dynamic" and isinstance(node, Conv2D) and not node.depthwise
    return "dynamic" if dynamic else "float"


def measure_conversion(name: str, elements: int) -> Quantities:
    """Return the quantities of an operation that quantises or dequantises a tensor."""
    return Quantities({"operation": 1.0, name: elements})


def measure_node(graph: Graph, node: Node, arithmetic: Arithmetic, processor: str) -> Quantities:
    """Return the quantities of the operations that the TFLite writer writes for a node.

    Raises:
        ExportError: the node has no cost model.
    """
    shape, source = graph.shapes[node.output], graph.shapes[node.inputs[0]]
    elements, size = math.prod(shape), BYTES[arithmetic]
    match node:
        case Conv2D():
            quantities = _measure_padding(graph, node, size)
            quantities.update(_measure_conv(node, source, shape, arithmetic, TILES[processor][arithmetic]))
        case Linear():
            tile = TILES[processor][arithmetic]
            quantities = _measure_product(arithmetic, tile, shape[0], source[-1], shape[-1])
        case Binary():
            rows = _count_rows(source, graph.shapes[node.right])
            quantities = Quantities({f"{arithmetic} sum": elements, "row": rows})
        case Sigmoid() | Tanh():
            quantities = Quantities({f"{arithmetic} curve": elements})
        case MaxPool():
            quantities = Quantities({f"{arithmetic} maximum": elements, "window": elements // shape[-1]})
        case Concat():
            pieces = sum(_count_pieces(graph.shapes[part], node.axis) for part in node.parts)
            quantities = Quantities({"byte": elements * size, "piece": pieces})
        case Slice():
            quantities = Quantities({"byte": elements * size, "piece": _count_pieces(shape, node.axis)})
        case Fold() if any(node.padding):
            quantities = _measure_pad(source, (node.padding, (0, 0)), size)
            quantities.update({"byte": elements * size, "piece": 1})
        case Reshape() | Fold() | Unfold() | View() | Columns():
            quantities = Quantities({"byte": elements * size, "piece": 1})
        case _:
            raise ExportError(f"a {type(node).__name__} has no cost model")
    quantities["operation"] += 1
    return quantities


def _measure_conv(node: Conv2D, source: Shape, shape: Shape, arithmetic: Arithmetic, tile: Tile) -> Quantities:
    positions, taps = shape[0] * shape[1], node.weight.shape[0] * node.weight.shape[1]
    if not node.depthwise:
        quantities = _measure_product(arithmetic, tile, positions, source[2], shape[2], taps)
        if arithmetic == "dynamic":
            quantities["dynamic input"] = math.prod(source)
        return quantities
    if taps > TAPS[arithmetic][-1]:
        return Quantities({f"{arithmetic} group": positions * shape[2] * taps})
    taps = next(size for size in TAPS[arithmetic] if size >= taps)
    lanes = LANES[arithmetic]
    channels = -(-shape[2] // lanes) * lanes
    return Quantities(
        {
            f"{arithmetic} depthwise product": positions * channels * taps,
            f"{arithmetic} depthwise output": positions * channels,
            "pointer": positions * taps,
        }
    )


def _measure_product(
    arithmetic: Arithmetic, tile: Tile, rows: int, inputs: int, outputs: int, taps: int = 1
) -> Quantities:
    """Return the quantities of a matrix product; with several taps, its rows are gathered from as many places."""
    columns = -(-outputs // tile.columns) * tile.columns
    depth = -(-inputs // tile.depth) * tile.depth * taps
    passes = -(-rows // tile.choose_rows(rows))
    quantities = Quantities(
        {
            f"{arithmetic} product": rows * columns * depth,
            f"{arithmetic} weight": passes * columns * depth,
            f"{arithmetic} output": rows * columns,
            f"{arithmetic} tile": passes * columns // tile.columns,
        }
    )
    if taps > 1:
        quantities[f"{arithmetic} tap"] = passes * columns // tile.columns * taps
    elif arithmetic != "integer" and outputs % tile.columns:
        # Kernels of float results compute the last columns one by one where they fill no tile.
        quantities[f"{arithmetic} ragged"] = rows * depth
    return quantities


def _measure_padding(graph: Graph, node: Conv2D, size: int) -> Quantities:
    widths = find_padding(graph, node)
    return Quantities() if widths is None else _measure_pad(graph.shapes[node.input], widths, size)


def _measure_pad(shape: Shape, widths: Sequence[tuple[int, int]], size: int) -> Quantities:
    """Return the quantities of zeros around a tensor, `widths` on the mel and the time axis."""
    mel, time = (length + sum(around) for length, around in zip(shape, widths, strict=False))
    if shape[2] >= FEW_CHANNELS:
        return Quantities({"operation": 1, "padded": mel * time, "byte": mel * time * shape[2] * size})
    quantities = Quantities()
    if any(widths[0]):
        parts = 1 + sum(width > 0 for width in widths[0])
        quantities.update({"operation": 1, "piece": shape[1] * parts, "byte": mel * shape[1] * shape[2] * size})
    if any(widths[1]):
        parts = 1 + sum(width > 0 for width in widths[1])
        quantities.update({"operation": 1, "piece": parts, "byte": mel * time * shape[2] * size})
    return quantities


def _count_pieces(shape: Shape, axis: int) -> int:
    """Return in how many places the elements of a tensor are after it was joined along an axis of the graph."""
    layout = to_layout(shape, "channels_last")
    return math.prod(layout[: (2, 1, 3)[axis] if len(shape) == 3 else axis])


def _count_rows(left: Shape, right: Shape) -> int:
    """Return in how many calls two tensors are added: one, and more where one of them is broadcast."""
    if left == right:
        return 1
    shapes = to_layout(left, "channels_last"), to_layout(right, "channels_last")
    pairs = list(zip(*shapes, strict=True))
    last = max(i for i, (a, b) in enumerate(pairs) if a != b)
    return math.prod(max(pair) for pair in pairs[: last + 1])


@cache
def read_constants(processor: str) -> Mapping[str, float]:
    """Return the instructions of each quantity on a processor.

    Raises:
        ExportError: there are none for the processor.
    """
    if processor not in PROCESSORS:
        raise ExportError(f"{processor}: there is no cost model of this processor; expected {' or '.join(PROCESSORS)}")
    document = JsonObject(parse_json((files(__package__) / CONSTANTS).read_bytes()), CONSTANTS)
    return document.child("instructions").child(processor).number_items()
