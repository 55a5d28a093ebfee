"""TFLite: one file for all graphs of a model, for LiteRT and its XNNPACK kernels.

A window ends in embeddings, and the signature `gru` takes one embedding and the hidden states: thirty-nine unrolled GRU
steps would be a thousand operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edge_asc.engines.litert import ROUTINE
from edge_asc.engines.tflm import measure_arena
from edge_asc.errors import require
from edge_asc.native import drop_lines
from edge_asc_export.format import File, Format
from edge_asc_export.graph import Graph
from edge_asc_export.operations import Inspection, Operation, summarise
from edge_asc_export.passes import equalise, expand_gru, fold_mel
from edge_asc_export.scheme import Scheme
from edge_asc_export.tflite_packing import load_schema
from edge_asc_export.tflite_writer import write_tflite

# What only moves or converts values.
MOVES = frozenset(["CONCATENATION", "DEQUANTIZE", "PAD", "QUANTIZE", "RESHAPE", "SLICE", "TRANSPOSE"])

PASSES = (
    # First, since factors belong to the tensors of the lowered graph.
    equalise.PASS,
    # TFLite has no GRU.
    expand_gru.PASS,
    # XNNPACK's kernels gain from more channels.
    fold_mel.PASS,
)


def _supports(scheme: Scheme) -> bool:
    """TFLite has operations for every scheme; those on int16 activations are slow reference kernels."""
    return True


def _files(graphs: Sequence[Graph]) -> tuple[File, ...]:
    return (File(tuple(graphs)),)


def _inspect(path: Path) -> Inspection:
    schema = load_schema()
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    integers = {schema.TensorType.INT8, schema.TensorType.INT16, schema.TensorType.INT32}
    signatures: dict[str, list[Operation]] = {}
    for definition in model.signatureDefs:
        subgraph = model.subgraphs[definition.subgraphIndex]
        operations = []
        for operator in subgraph.operators:
            name = names[model.operatorCodes[operator.opcodeIndex].builtinCode]
            is_integer = subgraph.tensors[operator.outputs[0]].type in integers
            operations.append(Operation(name, "integer" if is_integer else "float"))
        signatures[definition.signatureKey.decode()] = operations
    return replace(summarise(signatures, MOVES, *_delegated(path)), arena=measure_arena(path))


def _delegated(path: Path) -> tuple[int | None, int | None]:
    """Return the number of partitions of the first subgraph, and of operations outside them."""
    interpreter = require("ai_edge_litert.interpreter", "tflite").Interpreter(str(path), num_threads=1)
    with drop_lines(*ROUTINE):
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


FORMAT = Format(
    name="tflite",
    title="TFLite",
    suffix=".tflite",
    modules=("flatbuffers", "ai_edge_litert"),
    distributions=("ai-edge-litert", "flatbuffers"),
    supports=_supports,
    files=_files,
    passes=PASSES,
    write=write_tflite,
    inspect=_inspect,
)
