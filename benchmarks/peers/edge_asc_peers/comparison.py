"""A comparison: a model as its own artefacts and as every peer has it, each proven before anything is timed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edge_asc.contract import StreamContract
from edge_asc.data.scenes import generate_scene
from edge_asc.engine import open_runtime
from edge_asc.errors import EdgeAscError
from edge_asc.files import write_json
from edge_asc.frontend import Array, LogMel
from edge_asc.manifest import MANIFEST
from edge_asc.runtime import Tensors
from edge_asc.streaming import Stream
from edge_asc.training.checkpoint import Checkpoint
from edge_asc_export import bundle
from edge_asc_export.artefact import FORMATS
from edge_asc_export.scheme import SCHEMES
from edge_asc_peers.peer import CONTRACT, PEERS, Source
from edge_asc_peers.torch import export_onnx

Found = TypeVar("Found")

REFERENCE = "torch eager"
# What the reference and the artefacts are already; of windows, eager PyTorch is a peer.
OURS = ("eager", "onnxruntime")
# Largest error of a logit of what computes in float.
TOLERANCE = 1e-3
PROOF, CALIBRATION = "park", ("airport", "metro", "street_traffic")


@dataclass
class Comparison:
    """What is compared.

    Attributes:
        models: name and place of each; the first is the checkpoint in eager PyTorch.
        errors: largest error of a logit against the ONNX artefact, by name, of what a peer converted.
        absent: why something is not there, by name.
    """

    models: list[tuple[str, Path]] = field(default_factory=list)
    errors: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


def prepare(
    checkpoint: Path, folder: Path, chosen: Sequence[str], windows: Sequence[int], tell: Callable[[str], None]
) -> Comparison:
    """Export and convert a causal model, and a windowed one of the same layers, to `folder`.

    The windowed one has random weights: what it costs does not depend on them.

    Raises:
        EdgeAscError: the checkpoint cannot be exported.
    """
    found = Comparison([(REFERENCE, checkpoint)])
    for scheme in ("none", "int8"):
        tell(f"exporting {scheme}")
        bundle.export(bundle.Job(checkpoint, SCHEMES[scheme], FORMATS), folder / scheme)
        found.models += _listed(folder / scheme, "float" if scheme == "none" else scheme)
    _convert(found, checkpoint, folder / "none", folder / "peers", chosen, tell)
    if windows:
        twin = folder / "windowed"
        _untrained(Checkpoint.load(checkpoint)).save(twin)
        tell("exporting windows")
        bundle.export(bundle.Job(twin, SCHEMES["none"], FORMATS, tuple(windows)), folder / "windows")
        found.models += _listed(folder / "windows", "windows")
        _convert(found, twin, folder / "windows", folder / "peers", chosen, tell)
    return found


def _listed(exported: Path, what: str) -> list[tuple[str, Path]]:
    """The artefacts of a bundle, named after their engines."""
    listed = []
    for name, entry in json.loads((exported / MANIFEST).read_text())["files"].items():
        engine = "litert" if entry["format"] == "tflite" else "onnxruntime"
        signatures = [signature["name"] for signature in entry["contract"]["signatures"]]
        alone = what == "windows" and len(signatures) == 1  # ONNX has a file for each window
        seconds = signatures[0].removeprefix("window_").removesuffix("s")
        listed.append((f"{engine} window {seconds} s" if alone else f"{engine} {what}", exported / name))
    return sorted(listed)


def _untrained(checkpoint: Checkpoint) -> Checkpoint:
    import torch

    from edge_asc.models import build

    torch.manual_seed(0)
    model = build(replace(checkpoint.model.config, form="windowed"))
    return Checkpoint(f"{checkpoint.name}-windowed", model.eval(), checkpoint.front_end, checkpoint.labels)


def _convert(
    found: Comparison,
    checkpoint: Path,
    exported: Path,
    folder: Path,
    chosen: Sequence[str],
    tell: Callable[[str], None],
) -> None:
    """Have every peer convert every signature of a float export, in every scheme that it has."""
    for path in sorted(exported.glob("*.onnx")):
        contract = open_runtime(path).contract
        if contract.form == "causal":
            source = Source(checkpoint, path, path, contract, _recorded(path))
            kinds = {name: kind for name, kind in PEERS.all().items() if name in chosen and name not in OURS}
            for name, kind in kinds.items():
                for scheme in kind.schemes:
                    _try(found, f"{name} {scheme}", name, source, folder, scheme, tell)
            tell("exporting by torch.onnx")
            try:
                plain = _in_child(export_onnx, source, folder / "torch.onnx", log=folder / "torch.onnx.log")
            except EdgeAscError as error:
                found.absent["torch.onnx"] = str(error)
                continue
            for name in ("onnxruntime", *(name for name, kind in kinds.items() if kind.reads_onnx)):
                _try(found, f"{name} float from torch.onnx", name, plain, folder, "float", tell)
        else:
            source = Source(checkpoint, path, path, contract)
            for name in ("eager", *(name for name in chosen if name not in OURS)):
                _try(found, f"{name} window {contract.windows[0]} s", name, source, folder, "float", tell)


def _try(
    found: Comparison, label: str, name: str, source: Source, folder: Path, scheme: str, tell: Callable[[str], None]
) -> None:
    """Convert and prove, or note why not."""
    place = folder / f"{label.replace(' ', '-')}.{name}"
    tell(f"converting {label}")
    try:
        PEERS.load(name).installed()
        found.errors[label] = _in_child(converted, name, source, place, scheme, log=place.with_suffix(".log"))
        found.models.append((label, place))
    except EdgeAscError as error:
        found.absent[label] = str(error)


def _recorded(path: Path) -> tuple[Tensors, ...]:
    """What goes into each step of the artefact at `path`, of some generated scenes."""
    runtime = open_runtime(path)
    recorded = []
    for label in CALIBRATION:
        stream = Stream(runtime, "step")
        for frames in _frames(runtime.contract, label, 10):
            recorded.append({stream.loop.source.name: stream.laid_out(frames), **stream.loop.state})
            stream.feed(frames)
    return tuple(recorded)


def _frames(contract: StreamContract, label: str, seconds: int) -> list[Array]:
    """A generated scene in runs of as many frames as a contract's one signature takes."""
    size = contract.signatures[0].frames
    features = LogMel(contract.front_end)(generate_scene(label, 0, seconds))
    return [features[i : i + size] for i in range(0, len(features) - size + 1, size)]


def _in_child(function: Callable[..., Found], *arguments: Any, log: Path) -> Found:
    """Call a function in a process of its own: a converter that crashes ends nothing else, and speaks to a file.

    Raises:
        EdgeAscError: the function failed, or its process crashed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(1, get_context("spawn"), _silenced, (log,)) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except EdgeAscError:
            raise
        except BrokenProcessPool as error:
            raise EdgeAscError("the process that converts crashed") from error
        except Exception as error:  # whatever a converter raises
            said = next(iter(str(error).strip().splitlines()), "nothing said")
            raise EdgeAscError(f"{type(error).__name__}: {said}") from error


def _silenced(log: Path) -> None:
    """Let what converters and runtimes say go to a file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(file, 1)
    os.dup2(file, 2)


def converted(name: str, source: Source, place: Path, scheme: str) -> float:
    """Convert to `place`, open it, and stream a scene: the largest error of a logit against the ONNX artefact.

    Raises:
        EdgeAscError: what computes in float differs by more than TOLERANCE, or is not finite.
    """
    kind = PEERS.load(name)
    place.mkdir(parents=True)
    contract = kind.convert(source, place, scheme)
    write_json(place / CONTRACT, contract.to_json())
    signature = source.signature.name
    streams = [Stream(runtime, signature) for runtime in (open_runtime(source.artefact), open_runtime(place))]
    error = 0.0
    for frames in _frames(source.contract, PROOF, 10):
        expected, found = (stream.feed(frames) for stream in streams)
        error = max(error, float(np.abs(found - expected).max()))
        if not np.isfinite(found).all():
            raise EdgeAscError(f"{name}: its logits are not finite; it is not timed")
    if scheme == "float" and error > TOLERANCE:
        raise EdgeAscError(f"{name}: its logits differ by {error:.2g}, more than {TOLERANCE:g}; it is not timed")
    return error
