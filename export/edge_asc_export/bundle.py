"""The export: artefacts written in a process of their own, proven against PyTorch, and put in place with a manifest."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import signal
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_asc.engine import open_runtime
from edge_asc.errors import EdgeAscError, ExportError
from edge_asc.files import sha256, write_bytes, write_json
from edge_asc.manifest import MANIFEST
from edge_asc.training.checkpoint import Checkpoint, read_metadata
from edge_asc_export import artefact as artefacts
from edge_asc_export import parity
from edge_asc_export.artefact import Draft, Format
from edge_asc_export.calibration import MOST_CLIPS, Method, calibrate, evenly
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import Scheme

# 1: first version.
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Job:
    """What one export writes; plain values, so that a process of its own can be given it.

    Attributes:
        checkpoint: folder.
        scheme: of quantisation.
        formats: to write.
        windows: lengths, s, of a windowed model.
        plan: recorded ranges as JSON, instead of the checkpoint's own.
    """

    checkpoint: Path
    scheme: Scheme
    formats: tuple[Format, ...]
    windows: tuple[int, ...] = ()
    plan: Mapping[str, Any] | None = None

    def draft(self) -> Draft:
        """The draft, with the checkpoint loaded.

        Raises:
            ExportError: the checkpoint cannot be exported this way, or a format cannot express the scheme.
        """
        if foreign := [fmt for fmt in self.formats if fmt not in self.scheme.formats]:
            raise ExportError(
                f"{foreign[0]} cannot express {self.scheme.name} ({self.scheme.weights} weights, "
                f"{self.scheme.activations} activations); expected --format {' or '.join(self.scheme.formats)}, or "
                "another --quantize"
            )
        checkpoint = Checkpoint.load(self.checkpoint)
        plan = Plan(self.scheme)
        if self.scheme.static:
            recorded = checkpoint.quantisation if self.plan is None else self.plan
            plan = Plan.from_json(recorded).with_scheme(self.scheme)
        weights = str(read_metadata(self.checkpoint)["weights_sha256"])
        return Draft(checkpoint, weights, plan, self.windows)


def export(job: Job, output: Path, *, progress: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Write the artefacts of `job` and `manifest.json` to `output`; returns the manifest.

    Each format is written and checked in a child process, in a folder beside `output`; only when all are proven do the
    files take their place, the manifest last, and what an earlier manifest listed goes.

    Raises:
        ExportError: an artefact could not be written, differs from PyTorch, or the writer was killed; `output` is as
            it was.
    """
    draft = job.draft()
    output.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        for fmt in job.formats:
            if progress:
                progress(f"writing and checking {fmt}")
            _in_child(_write_format, job, fmt, staging)
        files = {}
        for path in sorted(staging.glob("*.json")):
            files.update(json.loads(path.read_text()))
        name = read_metadata(job.checkpoint)["name"]
        manifest = {
            "kind": "export",
            "schema_version": SCHEMA_VERSION,
            "name": name,
            "files": files,
            "plan": draft.plan.to_json(),
        }
        _put_in_place(staging, output, manifest)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return manifest


def _write_format(job: Job, fmt: Format, staging: Path) -> None:
    """Write the artefacts of one format, measure each in its own runtime, and note what was found."""
    draft = job.draft()
    measured: dict[str, dict[str, Any]] = {}
    reference = open_runtime(job.checkpoint)
    for artefact in artefacts.write(draft, fmt):
        path = staging / artefact.name
        write_bytes(path, artefact.data)
        found = parity.measure(reference, open_runtime(path))
        parity.check(artefact.name, job.scheme, found)
        measured[artefact.name] = {"parity": found.to_json()}
    entries = {}
    for artefact in _with_measurements(draft, fmt, measured):
        path = staging / artefact.name
        write_bytes(path, artefact.data)
        runtime = open_runtime(path)
        entries[artefact.name] = {
            "sha256": sha256(path),
            "bytes": len(artefact.data),
            "format": fmt,
            "engine": runtime.engine,
            "contract": runtime.contract.to_json(),
        }
    write_json(staging / f"{fmt}.json", entries)


def _with_measurements(
    draft: Draft, fmt: Format, measured: Mapping[str, Mapping[str, Any]]
) -> Sequence[artefacts.Artefact]:
    """The same artefacts, each with what was measured on it in its contract."""
    return [a for name, m in measured.items() for a in artefacts.write(draft, fmt, m) if a.name == name]


def _put_in_place(staging: Path, output: Path, manifest: dict[str, Any]) -> None:
    output.mkdir(exist_ok=True)
    old: set[str] = set()
    if (output / MANIFEST).is_file():
        try:
            old = set(json.loads((output / MANIFEST).read_text())["files"])
        except (ValueError, KeyError, TypeError):
            old = set()
    for name in manifest["files"]:
        (staging / name).replace(output / name)
    write_json(output / MANIFEST, manifest)
    for name in old - set(manifest["files"]):
        if Path(name).name == name:
            (output / name).unlink(missing_ok=True)


def _in_child(function: Callable[..., None], *arguments: Any) -> None:
    """Call `function` in a fresh process, so that a crash or a lack of memory is an error with a name.

    Raises:
        EdgeAscError: what the function raised.
        ExportError: it crashed, was killed, or raised something unforeseen.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(sender, function, arguments), daemon=True)
    process.start()
    sender.close()
    try:
        outcome = receiver.recv()
    except EOFError:
        outcome = None
    except BaseException:
        process.kill()
        raise
    finally:
        receiver.close()
        process.join()
    if outcome is None:
        raise ExportError(f"the export process {_ending(process.exitcode)}; nothing was written")
    error, text = outcome
    if error is not None:
        raise error
    if text:
        raise ExportError(f"the export failed unexpectedly; nothing was written\n{text}")


def _report(sender: Any, function: Callable[..., None], arguments: Sequence[Any]) -> None:
    try:
        function(*arguments)
    except EdgeAscError as error:
        sender.send((error, ""))
    except Exception:
        sender.send((None, traceback.format_exc()))
    else:
        sender.send((None, ""))


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"was ended by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"
    return f"ended with exit code {code} without a word"


def exportable(formats: Sequence[Format]) -> None:
    """Say early which packages an export to these formats needs.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    from edge_asc.errors import require

    needed = {"onnx": ("onnx", "onnxruntime"), "tflite": ("flatbuffers", "ai_edge_litert")}
    for fmt in formats:
        for module in needed[fmt]:
            require(module, "export")


def plan_of(artefact: Path, checkpoint: Checkpoint) -> Plan:
    """The quantisation plan that an artefact was written by: its bundle's, or the checkpoint's under its scheme.

    Raises:
        ExportError: the manifest beside the artefact is another's or damaged, or the artefact names no scheme.
    """
    manifest = artefact.parent / MANIFEST
    if manifest.is_file():
        try:
            value = json.loads(manifest.read_text())
            listed, plan = value["files"].get(artefact.name), value["plan"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ExportError(f"{manifest}: damaged ({error!r}); export again") from error
        if listed is not None:
            return Plan.from_json(plan)
    scheme = Scheme.from_json(open_runtime(artefact).contract.provenance.get("scheme"))
    return Plan.from_json(checkpoint.quantisation).with_scheme(scheme)


def record_plan(
    checkpoint: Path, data: Path, *, method: Method = "auto", progress: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """A quantisation plan of a checkpoint recorded on a data set in TAU layout, as JSON.

    Raises:
        EdgeAscError: the data set or a clip of it cannot be used.
    """
    from edge_asc.data.cache import FeatureCache, default_cache
    from edge_asc.data.dataset import Dataset
    from edge_asc.models import CRNN

    loaded, dataset = Checkpoint.load(checkpoint), Dataset.open(data)
    if not isinstance(loaded.model, CRNN):
        raise ExportError(f"{loaded.name} is a CNN with global average pooling; only a CRNN is exported")
    dataset.check()
    features = FeatureCache(default_cache(), loaded.front_end).features(dataset, evenly(dataset.clips, MOST_CLIPS))

    def report(done: int, total: int) -> None:
        if progress:
            progress(f"recording activation ranges, {done} of {total}")

    source = {"data": dataset.name, "classes": len({clip.label for clip in dataset.clips})}
    found = calibrate(loaded.model, loaded.front_end, features, method=method, source=source, progress=report)
    return found.to_json()
