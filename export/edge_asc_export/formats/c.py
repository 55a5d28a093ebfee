"""C: the step of a causal model as C99 source, for any compiler; its integers are those of LiteRT, bit by bit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from edge_asc.errors import ExportError
from edge_asc_export.c.file import companion_names, write_c, write_companions
from edge_asc_export.format import File, Format
from edge_asc_export.graph import Graph
from edge_asc_export.operations import Inspection, Operation, summarise
from edge_asc_export.passes import equalise, expand_gru, fold_mel
from edge_asc_export.scheme import Scheme

# What an operation's comment says.
OPERATION = re.compile(r"^    /\* \w+: (.+?) in (int8|float)[,;]", re.MULTILINE)

# Those of TFLite, so that integers are rounded in the same places.
PASSES = (equalise.PASS, expand_gru.PASS, fold_mel.PASS)


def _supports(scheme: Scheme) -> bool:
    return (scheme.weights, scheme.activations) in (("float32", "float32"), ("int8", "int8"))


def _files(graphs: Sequence[Graph]) -> tuple[File, ...]:
    if len(graphs) > 1:
        raise ExportError("C has no windows: it streams; export a causal model, or this one to ONNX or TFLite")
    return (File(tuple(graphs)),)


def _inspect(path: Path) -> Inspection:
    text = path.read_text(encoding="utf-8")
    operations = [
        Operation(found[1], "integer" if found[2] == "int8" else "float") for found in OPERATION.finditer(text)
    ]
    return summarise({"step": operations}, ())


FORMAT = Format(
    name="c",
    title="C",
    suffix=".c",
    modules=(),
    distributions=(),
    supports=_supports,
    files=_files,
    passes=PASSES,
    write=write_c,
    inspect=_inspect,
    companions=write_companions,
    companion_names=companion_names,
    by_name_only=True,
    own_front_end=True,
)
