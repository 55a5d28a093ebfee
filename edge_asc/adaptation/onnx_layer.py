"""The output layer of an ONNX file: found from its output back, replaced in a copy of the messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from edge_asc.adaptation.layer import IntegerLayer, OutputLayer, Site
from edge_asc.contract import METADATA_KEY, StreamContract
from edge_asc.errors import ContractError
from edge_asc.protobuf import Field, Message
from edge_asc.seal import SPARE, seal
from edge_asc.tensors import Affine

# Numbers of fields in ONNX's schema.
MODEL_GRAPH, MODEL_METADATA = 7, 14
ENTRY_KEY, ENTRY_VALUE = 1, 2
GRAPH_NODE, GRAPH_CONSTANT, GRAPH_OUTPUT = 1, 5, 12
NODE_INPUT, NODE_OUTPUT, NODE_TYPE, NODE_ATTRIBUTE = 1, 2, 4, 5
ATTRIBUTE_NAME, ATTRIBUTE_INTEGER = 1, 3
CONSTANT_SIZE, CONSTANT_TYPE, CONSTANT_NAME, CONSTANT_DATA = 1, 2, 8, 9
VALUE_NAME, VALUE_TYPE = 1, 2
TYPE_TENSOR, TENSOR_ELEMENT, TENSOR_SHAPE, SHAPE_SIZE, SIZE_VALUE = 1, 1, 2, 1, 1

FLOAT32 = 1
TYPES: Mapping[int, type[np.generic]] = {FLOAT32: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32}
NUMBERS = {np.dtype(kind): number for number, kind in TYPES.items()}

Constant = npt.NDArray[np.generic]


class OnnxEditor:
    """An ONNX file whose logits come from a Gemm in float, or in int8 between nodes that quantise and dequantise.

    Attributes:
        site: the layer that it has.
    """

    def __init__(self, data: bytes, contract: StreamContract) -> None:
        """Find the output layer.

        Raises:
            ContractError: the logits come from something else, or the file is damaged.
        """
        self._model = Message.parse(data)
        self._graph = Message.parse(b"".join(self._model.contents(MODEL_GRAPH)))
        nodes = [Message.parse(content) for content in self._graph.contents(GRAPH_NODE)]
        self._makers = {name: node for node in nodes for name in node.texts(NODE_OUTPUT)}
        self._uses = Counter(name for node in nodes for name in node.texts(NODE_INPUT))
        tensors = map(Message.parse, self._graph.contents(GRAPH_CONSTANT))
        self._constants = {tensor.text(CONSTANT_NAME): tensor for tensor in tensors}
        self._output = contract.signatures[0].output("logits").name
        # The nodes that read the layer's constants, by their first outputs: what each input is, by its place.
        self._readers: dict[str, dict[int, str]] = {}
        last = self._maker(self._output, "Gemm", "DequantizeLinear")
        self._is_integer = last.text(NODE_TYPE) == "DequantizeLinear"
        if self._is_integer:
            self._readers[self._output] = {1: "scale", 2: "zero"}
            (rounded, *_) = last.texts(NODE_INPUT)
            self._readers[rounded] = {1: "scale", 2: "zero"}
            gemm = self._maker(self._maker(rounded, "QuantizeLinear").texts(NODE_INPUT)[0], "Gemm")
        else:
            gemm = last
        if not _is_transposed(gemm) or len(gemm.texts(NODE_INPUT)) != 3:
            raise ContractError("the logits do not come from a linear layer with a bias")
        source, weight, bias = gemm.texts(NODE_INPUT)
        self._source: Affine | None = None
        if self._is_integer:
            _, scale, zero = self._maker(source, "DequantizeLinear").texts(NODE_INPUT)
            self._source = self._read_qparams(scale, zero)
            for part, name in (("bias", bias), ("weight", weight)):
                self._readers[name] = {0: part, 1: f"{part}_scale", 2: f"{part}_zero"}
            weight = self._maker(weight, "DequantizeLinear").texts(NODE_INPUT)[0]
        else:
            self._readers[self._output] = {1: "weight", 2: "bias"}
        values = self._read(weight)
        if values.ndim != 2 or self._is_integer == (values.dtype == np.float32):
            raise ContractError("the output layer is not one of float32 or int8 with its own weights")
        self._weight_type = values.dtype
        self.site = Site(values.shape[0], values.shape[1], self._source)

    def replace(self, layer: OutputLayer | IntegerLayer, contract: StreamContract) -> bytes:
        """Return the file with another output layer, which fits the site, and another contract, sealed."""
        constants = self._quantised(layer) if isinstance(layer, IntegerLayer) else _floats(layer)
        replaced = Counter(
            self._makers[output].texts(NODE_INPUT)[place]
            for output, inputs in self._readers.items()
            for place in inputs
        )
        # Another node may read a constant of the same value, which stays.
        removed = {name for name, count in replaced.items() if count == self._uses[name]}
        graph = Message(self._edit_graph(removed, len(constants["bias"])))
        graph = graph.extended(
            Field.of(GRAPH_CONSTANT, _constant(self._name(part), value)) for part, value in constants.items()
        )
        return seal(Message(self._edit_model(graph, contract)).dumps())

    def _edit_graph(self, removed: set[str], classes: int) -> Iterator[Field]:
        """Yield the fields of the graph: readers of the new constants, and the new shape of the logits."""
        for field in self._graph:
            if field.number not in (GRAPH_NODE, GRAPH_CONSTANT, GRAPH_OUTPUT):
                yield field
                continue
            message = Message.parse(field.content)
            if field.number == GRAPH_NODE:
                if inputs := self._readers.get(next(iter(message.texts(NODE_OUTPUT)), "")):
                    names = [
                        self._name(inputs[place]) if place in inputs else name
                        for place, name in enumerate(message.texts(NODE_INPUT))
                    ]
                    renamed = [Field.of(NODE_INPUT, name) for name in names]
                    field = Field.of(GRAPH_NODE, Message(renamed).extended(message.without(NODE_INPUT)).dumps())
                yield field
            elif field.number == GRAPH_CONSTANT:
                if message.text(CONSTANT_NAME) not in removed:
                    yield field
            elif message.text(VALUE_NAME) == self._output:
                yield Field.of(GRAPH_OUTPUT, _float_output(self._output, (1, classes)))
            else:
                yield field

    def _edit_model(self, graph: Message, contract: StreamContract) -> Iterator[Field]:
        """Yield the fields of the model, with another graph and another contract."""
        for field in self._model:
            if field.number == MODEL_GRAPH:
                field = Field.of(MODEL_GRAPH, graph.dumps())
            elif field.number == MODEL_METADATA and Message.parse(field.content).text(ENTRY_KEY) == METADATA_KEY:
                entry = (Field.of(ENTRY_KEY, METADATA_KEY), Field.of(ENTRY_VALUE, contract.dumps(SPARE)))
                field = Field.of(MODEL_METADATA, Message(entry).dumps())
            yield field

    def _quantised(self, layer: IntegerLayer) -> dict[str, Constant]:
        """Return the constants of an int8 layer; uint8 holds the same values, 128 higher."""
        weight, count, kind = layer.weight, len(layer.weight.bias), self._weight_type
        shift = 128 if kind == np.uint8 else 0
        output_kind = self._read(self._makers[self._output].texts(NODE_INPUT)[2]).dtype
        return {
            "weight": (weight.values.astype(np.int16) + shift).astype(kind),
            "weight_scale": weight.scales,
            "weight_zero": np.full(count, shift, kind),
            "bias": weight.bias.astype(np.int32),
            "bias_scale": weight.bias_scales(layer.source),
            "bias_zero": np.zeros(count, np.int32),
            "scale": np.array(layer.output.scale, np.float32),
            "zero": np.array(layer.output.zero_point + (128 if output_kind == np.uint8 else 0), output_kind),
        }

    def _maker(self, name: str, *kinds: str) -> Message:
        """Return the node that computes a tensor."""
        node = self._makers.get(name)
        if node is None or node.text(NODE_TYPE) not in kinds:
            made = "no node" if node is None else node.text(NODE_TYPE)
            raise ContractError(f"the output layer has {made} for {name}; expected {' or '.join(kinds)}")
        return node

    def _read(self, name: str) -> Constant:
        """Return a constant."""
        tensor = self._constants.get(name)
        if tensor is None or (number := tensor.integers(CONSTANT_TYPE)[-1]) not in TYPES:
            raise ContractError(f"{name} is not a constant in float32, int8, uint8 or int32")
        return np.frombuffer(tensor.contents(CONSTANT_DATA)[0], TYPES[number]).reshape(tensor.integers(CONSTANT_SIZE))

    def _read_qparams(self, scale: str, zero: str) -> Affine:
        """Return quantisation parameters as those of int8."""
        point = self._read(zero)
        return Affine(float(self._read(scale)), int(point) - (128 if point.dtype == np.uint8 else 0))

    def _name(self, part: str) -> str:
        return f"{self._output}_{part}"


def _is_transposed(node: Message) -> bool:
    """Whether a Gemm takes its weight as (classes, width)."""
    attributes = map(Message.parse, node.contents(NODE_ATTRIBUTE))
    return any((each.text(ATTRIBUTE_NAME), each.integers(ATTRIBUTE_INTEGER)) == ("transB", [1]) for each in attributes)


def _floats(layer: OutputLayer) -> dict[str, Constant]:
    return {"weight": layer.weight.astype(np.float32), "bias": layer.bias.astype(np.float32)}


def _constant(name: str, value: Constant) -> bytes:
    """Return the message of a constant."""
    sizes = [Field.of(CONSTANT_SIZE, size) for size in value.shape]
    kind = Field.of(CONSTANT_TYPE, NUMBERS[value.dtype])
    return Message((*sizes, kind, Field.of(CONSTANT_NAME, name), Field.of(CONSTANT_DATA, value.tobytes()))).dumps()


def _float_output(name: str, shape: tuple[int, ...]) -> bytes:
    """Return the message that describes a float output."""
    sizes = [Field.of(SHAPE_SIZE, Message([Field.of(SIZE_VALUE, size)]).dumps()) for size in shape]
    tensor = Message((Field.of(TENSOR_ELEMENT, FLOAT32), Field.of(TENSOR_SHAPE, Message(sizes).dumps())))
    kind = Message([Field.of(TYPE_TENSOR, tensor.dumps())])
    return Message((Field.of(VALUE_NAME, name), Field.of(VALUE_TYPE, kind.dumps()))).dumps()
