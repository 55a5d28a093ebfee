"""One artefact: a model in one format, its contract, and the files that hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import edge_asc
from edge_asc.contract import Signature, StreamContract
from edge_asc.errors import ExportError
from edge_asc.jsonobject import JsonObject
from edge_asc.models import CRNN
from edge_asc.provenance import Calibration, Measured, Provenance
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.training.checkpoint_contract import checkpoint_contract
from edge_asc_export.graph import Graph
from edge_asc_export.lowering import expand_gru, lower_gru, lower_step, lower_window
from edge_asc_export.onnx import OnnxWriter
from edge_asc_export.plan import Plan, digest
from edge_asc_export.scheme import Scheme
from edge_asc_export.tflite import TFLiteWriter

Format = Literal["onnx", "tflite"]
FORMATS: tuple[Format, ...] = ("onnx", "tflite")


def float_parts(fmt: Format, plan: Plan, form: str) -> str:
    """What computes in float, of a causal or a windowed model."""
    scheme = plan.scheme
    match scheme.activations:
        case "float32" if scheme.weights == "float16":
            return "all arithmetic; weights are stored in half precision"
        case "float32":
            return "everything"
        case "dynamic":
            return "depthwise convolutions, GRU and output layer"
    parts = [f"tensors named {', '.join(scheme.real)}"] if scheme.real else []
    if not any("features" in shared.tensors for shared in plan.ranges):
        parts.append("the input normalisation, so that features are rounded once")
    if fmt == "onnx" and form == "windowed":
        parts.append("GRU and output layer: onnxruntime has no integer GRU, and writing it out step by step costs more")
    return "; ".join(parts) or "nothing"


@dataclass(frozen=True)
class Draft:
    """What is exported: the graphs of a model, and how they are quantised.

    Attributes:
        checkpoint: the trained model.
        checkpoint_hash: SHA-256 of its weights.
        plan: of quantisation.
        windows: lengths, s, of a windowed model; none for a causal one.
    """

    checkpoint: Checkpoint
    checkpoint_hash: str
    plan: Plan
    windows: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        model = self.checkpoint.model
        if not isinstance(model, CRNN):
            raise ExportError(f"{self.checkpoint.name} is a CNN with global average pooling; only a CRNN streams")
        if model.config.form == "causal" and self.windows:
            raise ExportError(f"{self.checkpoint.name} is causal: it streams in steps and has no --window")
        if model.config.form == "windowed" and not self.windows:
            raise ExportError(f"{self.checkpoint.name} is windowed: name at least one length with --window SECONDS")
        for graph in self.graphs(recurrent=False):
            self.plan.check(expand_gru(graph), digest(model))

    @property
    def model(self) -> CRNN:
        """The CRNN."""
        model = self.checkpoint.model
        if not isinstance(model, CRNN):
            raise ExportError("not a CRNN")
        return model

    @property
    def scheme(self) -> Scheme:
        """Of quantisation."""
        return self.plan.scheme

    def graphs(self, *, recurrent: bool) -> tuple[Graph, ...]:
        """The graphs to write; `recurrent`: a window holds its GRU, otherwise the GRU is a graph of its own."""
        if self.model.config.form == "causal":
            return (self.plan.prepared(lower_step(self.model)),)
        hop, rate = self.checkpoint.front_end.hop, self.checkpoint.front_end.sample_rate
        windows = [lower_window(self.model, s, rate * s // hop, recurrent=recurrent) for s in self.windows]
        return tuple(map(self.plan.prepared, windows if recurrent else [*windows, lower_gru(self.model)]))

    def contract(
        self,
        fmt: Format,
        signatures: Sequence[Signature],
        graphs: Sequence[Graph],
        measured: Measured,
    ) -> StreamContract:
        """The contract of an artefact with these signatures."""
        calibration = JsonObject(self.plan.provenance, "calibration")
        provenance = Provenance(
            edge_asc=edge_asc.__version__,
            tools=_versions(("torch", "onnx") if fmt == "onnx" else ("torch", "ai-edge-litert", "flatbuffers")),
            checkpoint_sha256=self.checkpoint_hash,
            scheme=self.scheme.to_json(),
            float_parts=float_parts(fmt, self.plan, self.model.config.form),
            calibration=Calibration.from_json(calibration) if self.scheme.static else None,
        )
        return checkpoint_contract(
            self.checkpoint,
            signatures,
            macs={graph.name: graph.macs() for graph in graphs},
            scheme=self.scheme.name,
            provenance=provenance,
            measured=measured,
        )


@dataclass(frozen=True)
class Artefact:
    """A file that was written."""

    name: str
    contract: StreamContract
    data: bytes


def write(draft: Draft, fmt: Format, measured: Measured | None = None) -> list[Artefact]:
    """The artefacts of a format: TFLite is one file of signatures, ONNX a file a graph."""
    hop, stem = draft.checkpoint.front_end.hop, f"{draft.checkpoint.name}-{label(draft.scheme)}"
    if fmt == "tflite":
        graphs = draft.graphs(recurrent=False)
        writer = TFLiteWriter(draft.plan)
        signatures = [writer.signature(graph, hop) for graph in graphs]
        for graph in graphs:
            writer.add(graph)
        contract = draft.contract(fmt, signatures, graphs, measured or Measured())
        return [Artefact(f"{stem}.tflite", contract, writer.finish(contract))]
    result = []
    for graph in draft.graphs(recurrent=True):
        onnx = OnnxWriter(graph, draft.plan)
        contract = draft.contract(fmt, [onnx.signature(hop)], [graph], measured or Measured())
        result.append(Artefact(f"{stem}-{graph.name}.onnx", contract, onnx.write(contract)))
    return result


def label(scheme: Scheme) -> str:
    """What files call a scheme."""
    return "float" if scheme.name == "none" else scheme.name


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
