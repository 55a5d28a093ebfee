"""A preparation: a model exported as artefacts and converted by every peer, each verified before anything is timed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from edge_asc.children import run_in_child
from edge_asc.contract import StreamContract
from edge_asc.data.scenes import generate_scene
from edge_asc.engine import open_runtime
from edge_asc.errors import ContractError, EdgeAscError
from edge_asc.files import write_json
from edge_asc.frontend import Array, LogMel
from edge_asc.manifest import Manifest
from edge_asc.progress import SILENT, Progress
from edge_asc.runtime import Tensors
from edge_asc.streaming import Stream
from edge_asc.training.checkpoint import Checkpoint
from edge_asc_export.bundle import ExportRequest, export
from edge_asc_export.scheme import SCHEMES
from edge_asc_peers.peer import ALWAYS_MEASURED, CONTRACT, PEERS, Source
from edge_asc_peers.recording import Recording
from edge_asc_peers.signature_module import export_onnx

R = TypeVar("R")

REFERENCE = "torch eager"
FORMATS = ("onnx", "tflite")
TORCH_ONNX = "torch.onnx"
# Largest error of a logit of a model that computes in float.
TOLERANCE = 1e-3
VERIFICATION, CALIBRATION = "park", ("airport", "metro", "street_traffic")
SECONDS = 10


@dataclass(frozen=True)
class Preparation:
    """The models of one measurement.

    Attributes:
        models: name and path of each; the first is the checkpoint in eager PyTorch.
        errors: largest logit error of each converted model against the ONNX artefact, by name.
        absent: the reason why a model is missing, by name.
    """

    models: tuple[tuple[str, Path], ...]
    errors: Mapping[str, float]
    absent: Mapping[str, str]


def prepare(
    checkpoint: Path, folder: Path, peers: Sequence[str], windows: Sequence[int] = (), progress: Progress = SILENT
) -> Preparation:
    """Export and convert a causal model, and a windowed model of the same layers.

    The windowed one has random weights; its latency does not depend on them.

    Args:
        checkpoint: of the causal model.
        folder: for all files.
        peers: names of the peers that convert the models.
        windows: lengths of the windows, s; empty for none.
        progress: receives a phase for each step.

    Raises:
        EdgeAscError: the checkpoint cannot be exported.
    """
    builder = _Builder(checkpoint, folder / "peers", peers, progress)
    for scheme in ("none", "int8"):
        export(ExportRequest(checkpoint, SCHEMES[scheme], FORMATS), folder / scheme, progress=progress)
        builder.add_artefacts(folder / scheme, "float" if scheme == "none" else scheme)
    builder.convert(checkpoint, folder / "none")
    if windows:
        twin = folder / "windowed"
        _randomise_windowed(Checkpoint.load(checkpoint)).save(twin)
        export(ExportRequest(twin, SCHEMES["none"], FORMATS, tuple(windows)), folder / "windows", progress=progress)
        builder.add_artefacts(folder / "windows", "windows")
        builder.convert(twin, folder / "windows")
    return Preparation(tuple(builder.models), builder.errors, builder.absent)


def convert_and_verify(peer: str, source: Source, folder: Path, scheme: str) -> float:
    """Convert a source, open the result, and return its largest logit error against the ONNX artefact.

    Args:
        peer: name of the peer that converts.
        source: signature to convert.
        folder: for the converted model, created; its suffix is the peer's name.
        scheme: "float" or "int8"; the logits of an int8 model may differ by any amount.

    Raises:
        EdgeAscError: float logits differ by more than TOLERANCE, or logits are not finite.
    """
    folder.mkdir(parents=True)
    contract = PEERS.load(peer).convert(source, folder, scheme)
    write_json(folder / CONTRACT, contract.to_json())
    signature = source.signature.name
    reference, converted = (Stream(open_runtime(path), signature) for path in (source.artefact, folder))
    error = 0.0
    for frames in _scene_steps(source.contract, VERIFICATION):
        expected = reference.feed(frames)
        try:
            logits = converted.feed(frames)
        except ContractError as failure:
            raise EdgeAscError(
                f"{peer}: its logits are not finite, or cannot be computed ({failure}); it is not timed"
            ) from failure
        error = max(error, float(np.abs(logits - expected).max()))
    if scheme == "float" and error > TOLERANCE:
        raise EdgeAscError(f"{peer}: its logits differ by {error:.2g}, more than {TOLERANCE:g}; it is not timed")
    return error


def record_steps(artefact: Path) -> tuple[Tensors, ...]:
    """Return the inputs of each step of the artefact on generated scenes, by name; for calibration."""
    log_mel = LogMel(open_runtime(artefact).contract.front_end)
    features = tuple(log_mel(generate_scene(label, 0, SECONDS)) for label in CALIBRATION)
    return tuple(Recording(artefact, features))


def call_in_child(log: Path, function: Callable[..., R], *arguments: object) -> R:
    """Call a function in a child process: a converter that crashes ends nothing else.

    Args:
        log: file that receives the output of the child.
        function: of a module that the child can import.
        arguments: of the function; they can be pickled.

    Raises:
        EdgeAscError: the function raised an exception, or its process crashed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    result: R = run_in_child(_call_logged, log, function, arguments, name="converter")
    return result


class _Builder:
    """Collects the models of a preparation."""

    def __init__(self, checkpoint: Path, folder: Path, peers: Sequence[str], progress: Progress) -> None:
        self.models: list[tuple[str, Path]] = [(REFERENCE, checkpoint)]
        self.errors: dict[str, float] = {}
        self.absent: dict[str, str] = {}
        self._folder, self._progress = folder, progress
        self._peers = [name for name in PEERS.names() if name in peers and name not in ALWAYS_MEASURED]

    def add_artefacts(self, exported: Path, kind: str) -> None:
        """Add the artefacts of a bundle, named after their engines and their kind."""
        artefacts = []
        for name, entry in Manifest.read(exported).files.items():
            engine = "litert" if entry.format == "tflite" else "onnxruntime"
            signatures = [signature.name for signature in entry.contract.signatures]
            if kind == "windows" and len(signatures) == 1:  # ONNX has a file for each window
                seconds = signatures[0].removeprefix("window_").removesuffix("s")
                artefacts.append((f"{engine} window {seconds} s", exported / name))
            else:
                artefacts.append((f"{engine} {kind}", exported / name))
        self.models += sorted(artefacts)

    def convert(self, checkpoint: Path, exported: Path) -> None:
        """Convert every signature of a float export by every peer, in each of the peer's precisions."""
        for path in sorted(exported.glob("*.onnx")):
            contract = open_runtime(path).contract
            if contract.form == "causal":
                self._convert_step(Source(checkpoint, path, path, contract, record_steps(path)))
            else:
                source = Source(checkpoint, path, path, contract)
                for peer in ("eager", *self._peers):
                    self._add(f"{peer} window {contract.windows[0]} s", peer, source, "float")

    def _convert_step(self, source: Source) -> None:
        for peer in self._peers:
            for scheme in PEERS.load(peer).schemes:
                self._add(f"{peer} {scheme}", peer, source, scheme)
        path = self._folder / TORCH_ONNX
        try:
            with self._progress.phase(f"Exporting by {TORCH_ONNX}"):
                exported = call_in_child(path.with_name(f"{TORCH_ONNX}.log"), export_onnx, source, path)
        except EdgeAscError as error:
            self.absent[TORCH_ONNX] = str(error)
            return
        for peer in ("onnxruntime", *(peer for peer in self._peers if PEERS.load(peer).reads_onnx)):
            self._add(f"{peer} float from {TORCH_ONNX}", peer, exported, "float")

    def _add(self, name: str, peer: str, source: Source, scheme: str) -> None:
        """Convert and verify a model and add it; or keep the reason why it is absent."""
        folder = self._folder / f"{name.replace(' ', '-')}.{peer}"
        log = folder.with_suffix(".log")
        try:
            PEERS.load(peer).installed_version()
            with self._progress.phase(f"Converting {name}"):
                self.errors[name] = call_in_child(log, convert_and_verify, peer, source, folder, scheme)
            self.models.append((name, folder))
        except EdgeAscError as error:
            self.absent[name] = str(error)


def _scene_steps(contract: StreamContract, label: str) -> Iterator[Array]:
    """Yield the features of a generated scene, in runs of as many frames as the contract's one signature takes."""
    size = contract.signatures[0].frames
    features = LogMel(contract.front_end)(generate_scene(label, 0, SECONDS))
    for begin in range(0, len(features) - size + 1, size):
        yield features[begin : begin + size]


def _randomise_windowed(checkpoint: Checkpoint) -> Checkpoint:
    """Return a windowed model of the checkpoint's layers, with random weights."""
    import torch

    from edge_asc.models import build

    torch.manual_seed(0)
    model = build(replace(checkpoint.model.config, form="windowed"))
    return Checkpoint(f"{checkpoint.name}-windowed", model.eval(), checkpoint.front_end, checkpoint.labels)


def _call_logged(log: Path, function: Callable[..., R], arguments: tuple[object, ...], _: Progress) -> R:
    """Call a function, and send the output of this process, and of the libraries in it, to a file.

    Raises:
        EdgeAscError: the function raised an exception; its first line is the message.
    """
    file = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(file, 1)
    os.dup2(file, 2)
    try:
        return function(*arguments)
    except EdgeAscError:
        raise
    except Exception as error:  # of any converter
        detail = next(iter(str(error).strip().splitlines()), "no message")
        raise EdgeAscError(f"{type(error).__name__}: {detail}") from error
