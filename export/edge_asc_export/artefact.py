"""One artefact: a model in one format, its contract, and the files that hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import edge_asc
from edge_asc.contract import Affine, Signature, StreamContract
from edge_asc.errors import ExportError
from edge_asc.models import CRNN
from edge_asc.models.complexity import deployed_parameters
from edge_asc.training.checkpoint import Checkpoint
from edge_asc_export.graph import Graph
from edge_asc_export.lowering import expand_gru, lower_gru, lower_step, lower_window
from edge_asc_export.onnx import OnnxWriter
from edge_asc_export.quantisation import Calibration, Scheme, grids
from edge_asc_export.tflite import TFLiteWriter

Format = Literal["onnx", "tflite"]
FORMATS: tuple[Format, ...] = ("onnx", "tflite")

# What computes in float in each format and scheme.
FLOAT_PARTS: Mapping[tuple[str, str], str] = {
    ("onnx", "none"): "everything",
    ("tflite", "none"): "everything",
    ("onnx", "fp16"): "all arithmetic; weights are stored in half precision",
    ("tflite", "fp16"): "all arithmetic; weights are stored in half precision",
    ("onnx", "int8-dynamic"): "depthwise convolutions, GRU and output layer",
    ("tflite", "int8-dynamic"): "depthwise convolutions",
    ("onnx", "int8"): "GRU and output layer: onnxruntime has no integer GRU, and ten units cost nothing",
    ("tflite", "int8"): "nothing",
}


@dataclass(frozen=True)
class Plan:
    """What is exported: graphs of one model, and the grids where activations are integers.

    Attributes:
        checkpoint: the trained model.
        checkpoint_hash: SHA-256 of its weights.
        scheme: of quantisation.
        windows: lengths, s, of a windowed model; none for a causal one.
        calibration: recorded ranges; needed by "int8" alone.
    """

    checkpoint: Checkpoint
    checkpoint_hash: str
    scheme: Scheme
    windows: tuple[int, ...] = ()
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        model = self.checkpoint.model
        if not isinstance(model, CRNN):
            raise ExportError(f"{self.checkpoint.name} is a CNN with global average pooling; only a CRNN streams")
        if model.config.form == "causal" and self.windows:
            raise ExportError(f"{self.checkpoint.name} is causal: it streams in steps and has no --window")
        if model.config.form == "windowed" and not self.windows:
            raise ExportError(f"{self.checkpoint.name} is windowed: name at least one length with --window SECONDS")
        if self.scheme == "int8" and self.calibration is None:
            raise ExportError("int8 needs activation ranges")

    @property
    def model(self) -> CRNN:
        """The CRNN."""
        model = self.checkpoint.model
        if not isinstance(model, CRNN):
            raise ExportError("not a CRNN")
        return model

    def _prepared(self, graph: Graph) -> Graph:
        return self.calibration.equalised(graph) if self.scheme == "int8" and self.calibration else graph

    def graphs(self, *, recurrent: bool) -> tuple[Graph, ...]:
        """The graphs to write; `recurrent`: a window holds its GRU, otherwise the GRU is a graph of its own."""
        if self.model.config.form == "causal":
            return (self._prepared(lower_step(self.model)),)
        hop, rate = self.checkpoint.front_end.hop, self.checkpoint.front_end.sample_rate
        windows = [lower_window(self.model, s, rate * s // hop, recurrent=recurrent) for s in self.windows]
        return tuple(map(self._prepared, windows if recurrent else [*windows, lower_gru(self.model)]))

    def grids(self) -> dict[str, Affine]:
        """The grid of every tensor of the expanded graphs, the same for both formats; none if activations are real."""
        if self.scheme != "int8" or self.calibration is None:
            return {}
        clip = self.checkpoint.front_end.clip
        each = (grids(expand_gru(graph), self.calibration.ranges, clip) for graph in self.graphs(recurrent=False))
        return {tensor: grid for found in each for tensor, grid in found.items()}

    def contract(
        self,
        fmt: Format,
        signatures: Sequence[Signature],
        graphs: Sequence[Graph],
        measured: Mapping[str, Any],
    ) -> StreamContract:
        """The contract of an artefact with these signatures."""
        checkpoint, config = self.checkpoint, self.model.config
        return StreamContract(
            name=checkpoint.name,
            backbone=config.backbone,
            form=config.form,
            output=config.output,
            labels=checkpoint.labels,
            front_end=checkpoint.front_end,
            decision=checkpoint.decision,
            parameters=deployed_parameters(self.model),
            macs={graph.name: graph.macs() for graph in graphs},
            scheme=self.scheme,
            signatures=tuple(signatures),
            provenance={
                "edge_asc": edge_asc.__version__,
                "tools": _versions(("torch", "onnx") if fmt == "onnx" else ("torch", "ai-edge-litert", "flatbuffers")),
                "checkpoint_sha256": self.checkpoint_hash,
                "scheme": self.scheme,
                "float": FLOAT_PARTS[fmt, self.scheme],
                "calibration": dict(self.calibration.provenance)
                if self.scheme == "int8" and self.calibration
                else None,
            },
            measured=dict(measured),
        )


@dataclass(frozen=True)
class Artefact:
    """A file that was written."""

    name: str
    contract: StreamContract
    data: bytes


def write(plan: Plan, fmt: Format, measured: Mapping[str, Any] | None = None) -> list[Artefact]:
    """The artefacts of a format: TFLite is one file of signatures, ONNX a file a graph."""
    hop, stem = plan.checkpoint.front_end.hop, f"{plan.checkpoint.name}-{_label(plan.scheme)}"
    if fmt == "tflite":
        graphs = plan.graphs(recurrent=False)
        writer = TFLiteWriter(plan.scheme, plan.grids())
        signatures = [writer.signature(graph, hop) for graph in graphs]
        for graph in graphs:
            writer.add(graph)
        contract = plan.contract(fmt, signatures, graphs, measured or {})
        return [Artefact(f"{stem}.tflite", contract, writer.finish(contract))]
    result, grid = [], plan.grids()
    for graph in plan.graphs(recurrent=True):
        onnx = OnnxWriter(graph, plan.scheme, grid)
        contract = plan.contract(fmt, [onnx.signature(hop)], [graph], measured or {})
        result.append(Artefact(f"{stem}-{graph.name}.onnx", contract, onnx.write(contract)))
    return result


def _label(scheme: Scheme) -> str:
    return "float" if scheme == "none" else scheme


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
