"""What is inside an artefact: operations, their number types, and what the engine hands to its fast path."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_asc.errors import require

REAL, INTEGER = "float", "integer"


@dataclass(frozen=True)
class Inspection:
    """The operations of an artefact.

    Attributes:
        operations: of each signature: how many there are of each kind.
        arithmetic: of each signature: how many operations compute in float and how many in integers.
        float_operations: of each signature: the kinds that compute in float beside integer ones.
        partitions: TFLite's step: how many parts the graph falls into for XNNPACK; None where it is not known.
        outside: TFLite's step: how many operations XNNPACK does not take.
    """

    operations: dict[str, dict[str, int]]
    arithmetic: dict[str, dict[str, int]]
    float_operations: dict[str, list[str]]
    partitions: int | None = None
    outside: int | None = None

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)


def inspect(path: Path) -> Inspection:
    """Read the graph of an `.onnx` or `.tflite` file.

    Raises:
        MissingExtraError: the package that reads the format is not installed.
    """
    return _onnx(path) if path.suffix == ".onnx" else _tflite(path)


# What only moves, converts or names values.
MOVES = {
    *(
        "Cast",
        "Concat",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "Expand",
        "Identity",
        "QuantizeLinear",
        "Pad",
        "Reshape",
        "Slice",
    ),
    *("Transpose", "CONCATENATION", "DEQUANTIZE", "PAD", "QUANTIZE", "RESHAPE", "SLICE", "TRANSPOSE"),
}


# What computes in integers if its weights, the second input, are integers.
WEIGHTED = ("Conv", "GRU", "Gemm")


def _onnx(path: Path) -> Inspection:
    graph = require("onnx", "export").load(path).graph
    quantised = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}

    def kind(node: Any) -> str:
        if node.op_type in WEIGHTED:
            return INTEGER if node.input[1] in quantised else REAL
        integer = node.op_type.endswith("Integer") or node.op_type == "MaxPool"
        return INTEGER if integer or any(name in quantised for name in node.input if name) else REAL

    return _inspection({graph.name: [(node.op_type, kind(node)) for node in graph.node]})


def _tflite(path: Path) -> Inspection:
    schema = require("ai_edge_litert.schema_py_generated", "tflite")
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    integers = {schema.TensorType.INT8, schema.TensorType.INT16, schema.TensorType.INT32}
    signatures: dict[str, list[tuple[str, str]]] = {}
    for definition in model.signatureDefs:
        subgraph = model.subgraphs[definition.subgraphIndex]
        kinds = []
        for operator in subgraph.operators:
            name = names[model.operatorCodes[operator.opcodeIndex].builtinCode]
            integer = subgraph.tensors[operator.outputs[0]].type in integers
            kinds.append((name, INTEGER if integer else REAL))
        signatures[definition.signatureKey.decode()] = kinds
    partitions, outside = _delegated(path)
    return _inspection(signatures, partitions, outside)


def _delegated(path: Path) -> tuple[int | None, int | None]:
    """Partitions of the first subgraph, and operations left outside them."""
    interpreter = require("ai_edge_litert.interpreter", "tflite").Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    details = getattr(interpreter, "_get_ops_details", None)
    if details is None:
        return None, None
    operations = details()
    delegates = [op for op in operations if op["op_name"] == "DELEGATE"]
    made = {int(t) for op in delegates for t in op["outputs"]}
    read = {int(t) for op in delegates for t in op["inputs"]}
    outputs = {int(detail["index"]) for detail in interpreter.get_output_details()}
    inputs = {int(detail["index"]) for detail in interpreter.get_input_details()}
    plain = [op for op in operations if op["op_name"] != "DELEGATE"]
    visible = (read | outputs) - inputs - made
    return len(delegates), sum(any(int(t) in visible for t in op["outputs"]) for op in plain)


def _inspection(
    signatures: dict[str, list[tuple[str, str]]], partitions: int | None = None, outside: int | None = None
) -> Inspection:
    operations, arithmetic, real = {}, {}, {}
    for name, kinds in signatures.items():
        operations[name] = dict(Counter(op for op, _ in kinds).most_common())
        computed = [(op, kind) for op, kind in kinds if op not in MOVES]
        arithmetic[name] = {kind: sum(k == kind for _, k in computed) for kind in (INTEGER, REAL)}
        mixed = arithmetic[name][INTEGER] > 0
        real[name] = sorted({op for op, kind in computed if kind == REAL}) if mixed else []
    return Inspection(operations, arithmetic, real, partitions, outside)
