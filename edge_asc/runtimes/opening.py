"""Finds what a path means: an artefact, a bundle, a checkpoint, or a model of the zoo."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from edge_asc.errors import ContractError, MissingExtraError
from edge_asc.files import sha256
from edge_asc.runtimes import MANIFEST, Runtime

# Entry points of this group, named after the ending of a file or folder, open what other engines run.
PLUGGED = "edge_asc.runtimes"
LITERT_PACKAGES = ("ai_edge_litert", "tflite_runtime", "tensorflow")


def locate(path: Path) -> Callable[[int], Runtime]:
    """A function that opens what `path` means with a number of threads.

    Raises:
        ContractError: nothing there that can be run, or a file that is not the one its manifest lists.
    """
    from edge_asc.training.checkpoint import is_checkpoint
    from edge_asc.zoo import located

    path = located(path) or path
    if path.is_dir() and is_checkpoint(path):
        return lambda threads: _torch(path, threads)
    if path.is_dir() and (path / MANIFEST).is_file():
        path = preferred(path)
    ours = {".onnx": _onnx, ".tflite": _litert}.get(path.suffix)
    if ours is not None and path.is_file():
        verify(path)
        return lambda threads: ours(path, threads)
    if path.exists() and (plugged := entry_points(group=PLUGGED, name=path.suffix.removeprefix("."))):
        opened = next(iter(plugged)).load()
        return lambda threads: opened(path, threads)
    if not path.is_file():
        raise ContractError(
            f"{path}: no model there; expected an .onnx or .tflite file, an exported folder with {MANIFEST}, "
            "a checkpoint folder, or the name of a model of the zoo"
        )
    raise ContractError(f"{path}: a file ending in {path.suffix or 'nothing'}; expected .onnx or .tflite")


def verify(path: Path) -> None:
    """Compare an artefact with the hash in the manifest beside it, if that lists it.

    Raises:
        ContractError: the file is not the one that was exported, or the manifest is damaged.
    """
    manifest = path.parent / MANIFEST
    if not manifest.is_file():
        return
    expected = {name: str(entry["sha256"]) for name, entry in _files(manifest).items()}
    if path.name in expected and (found := sha256(path)) != expected[path.name]:
        raise ContractError(
            f"{path}: SHA-256 is {found[:12]}…, {MANIFEST} says {expected[path.name][:12]}…: "
            "the file is damaged or was replaced; copy the whole folder again, or export again"
        )


def _files(manifest: Path) -> dict[str, dict[str, str]]:
    try:
        files: dict[str, dict[str, str]] = json.loads(manifest.read_text())["files"]
        _ = [entry["sha256"] for entry in files.values()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ContractError(f"{manifest}: damaged ({error!r}); copy the whole folder again") from error
    return files


def preferred(bundle: Path) -> Path:
    """The file of a bundle to run: TFLite where a runtime for it is installed, then ONNX; a step before a window."""
    names = sorted(_files(bundle / MANIFEST), key=_order)
    endings = (".tflite", ".onnx") if any(map(find_spec, LITERT_PACKAGES)) else (".onnx", ".tflite")
    for ending in endings:
        for name in names:
            if name.endswith(ending):
                return bundle / name
    raise ContractError(f"{bundle / MANIFEST}: lists no .onnx or .tflite file; export again")


def _order(name: str) -> tuple[int, str]:
    """A step first, then windows by length."""
    window = re.search(r"window_(\d+)s", name)
    return (int(window[1]) if window else 0, name)


def _torch(path: Path, threads: int) -> Runtime:
    from edge_asc.runtimes.torch import TorchRuntime

    try:
        return TorchRuntime.load(path, threads=threads)
    except MissingExtraError as error:
        raise MissingExtraError(
            f"{path.name} is a checkpoint, and {error}; or export it on a machine with torch and give the artefact here"
        ) from error


def _onnx(path: Path, threads: int) -> Runtime:
    from edge_asc.runtimes.onnx import OnnxRuntime

    return OnnxRuntime(path, threads=threads)


def _litert(path: Path, threads: int) -> Runtime:
    from edge_asc.runtimes.litert import LiteRTRuntime

    return LiteRTRuntime(path, threads=threads)
