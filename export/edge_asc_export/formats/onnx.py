"""ONNX: one file a graph, for onnxruntime.

onnxruntime has no integer GRU. Where the plan quantises a GRU over one row, it is written out as linear layers, which
onnxruntime computes as integer matrix products; over the rows of a window that would be a thousand operations, and the
recurrent part stays float.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_asc.errors import require
from edge_asc_export.builder import attach_gru
from edge_asc_export.format import File, Format
from edge_asc_export.graph import GRU, Graph
from edge_asc_export.onnx_writer import write_onnx
from edge_asc_export.operations import Inspection, Operation, summarise
from edge_asc_export.passes import equalise, expand_gru, fold_mel, keep_gru_float, merge_bands
from edge_asc_export.pipeline import Lowered
from edge_asc_export.scheme import Scheme

if TYPE_CHECKING:
    from onnx import NodeProto

# What only moves, converts or names values.
MOVES = frozenset(
    (
        *("Cast", "Concat", "DequantizeLinear", "DynamicQuantizeLinear", "Expand", "Identity", "Pad"),
        *("QuantizeLinear", "Reshape", "Slice", "Transpose"),
    )
)
# What computes in integers if its weights, the second input, are integers.
WEIGHTED = ("Conv", "GRU", "Gemm")


def _supports(scheme: Scheme) -> bool:
    """Whether onnxruntime has kernels for a scheme: it has none for int16 activations."""
    return scheme.activations != "int16"


def _files(graphs: Sequence[Graph]) -> tuple[File, ...]:
    """Distribute graphs: a step has a file, and so has each window together with its GRU."""
    if len(graphs) == 1:
        return (File(tuple(graphs), f"-{graphs[0].name}"),)
    *windows, gru = graphs
    return tuple(File((attach_gru(window, gru),), f"-{window.name}") for window in windows)


def _has_integer_gru(lowered: Lowered) -> bool:
    """Whether GRU layers over one row compute in integers."""
    graph = lowered.graph
    rows = {graph.shapes[node.output][0] for node in graph.nodes if isinstance(node, GRU)}
    return rows == {1} and any(tensor.startswith("gru_") for tensor in lowered.qparams)


def _has_float_gru(lowered: Lowered) -> bool:
    return any(isinstance(node, GRU) for node in lowered.graph.nodes)


def _has_integers(lowered: Lowered) -> bool:
    return bool(lowered.qparams)


def _is_float(lowered: Lowered) -> bool:
    return not lowered.qparams


PASSES = (
    # First, since factors belong to the tensors of the lowered graph.
    equalise.PASS,
    # Integer layers can be computed once the GRU is written out; a GRU that is left has no integer kernel.
    expand_gru.PASS.where(_has_integer_gru),
    keep_gru_float.PASS.where(_has_float_gru),
    # Integer kernels gain from more channels; float kernels do not.
    fold_mel.PASS.where(_has_integers),
    # In integers the merged bands would be rounded more often.
    merge_bands.PASS.where(_is_float),
)


def _float_part(form: str) -> str:
    if form != "windowed":
        return ""
    return "GRU and output layer: onnxruntime has no integer GRU, and writing it out step by step costs more"


def _inspect(path: Path) -> Inspection:
    graph = require("onnx", "export").load(path).graph
    quantised = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}

    def is_integer(node: NodeProto) -> bool:
        if node.op_type in WEIGHTED:
            return node.input[1] in quantised
        if node.op_type.endswith("Integer") or node.op_type == "MaxPool":
            return True
        return any(name in quantised for name in node.input if name)

    operations = [Operation(node.op_type, "integer" if is_integer(node) else "float") for node in graph.node]
    return summarise({graph.name: operations}, MOVES)


FORMAT = Format(
    name="onnx",
    title="ONNX",
    suffix=".onnx",
    modules=("onnx", "onnxruntime"),
    distributions=("onnx",),
    supports=_supports,
    files=_files,
    passes=PASSES,
    write=write_onnx,
    inspect=_inspect,
    float_part=_float_part,
)
