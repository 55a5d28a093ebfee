"""Quantisers side by side: one float model, one calibration, and how far each int8 model is from float."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from edge_asc import __version__
from edge_asc.data.recordings import Recordings
from edge_asc.engine import open_runtime
from edge_asc.errors import DatasetError, EdgeAscError, ExportError, MissingExtraError
from edge_asc.evaluation.document import Evaluation
from edge_asc.evaluation.folder import evaluate_recordings
from edge_asc.evaluation.logits import at_level
from edge_asc.frontend import Array
from edge_asc.jsonobject import JsonValue
from edge_asc.manifest import Manifest
from edge_asc.models import CRNN
from edge_asc.progress import SILENT, Progress
from edge_asc.runtime import Runtime
from edge_asc.seal import seal
from edge_asc.streaming import Stream
from edge_asc.training.checkpoint import Checkpoint
from edge_asc_bench.kinds import Quantisation, QuantisedFile
from edge_asc_export.bundle import ExportRequest, export
from edge_asc_export.calibration import LEVELS, Source, calibrate, evenly
from edge_asc_export.inspection import inspect
from edge_asc_export.scheme import SCHEMES
from edge_asc_peers.preparation import FORMATS, call_in_child
from edge_asc_peers.quantiser import QUANTISERS
from edge_asc_peers.recording import Recording

# Packages whose versions change a result, beside those of the quantisers.
ENGINES = ("ai-edge-litert", "onnxruntime", "torch")


@dataclass(frozen=True)
class Clips:
    """The clips of a comparison: of one fold, whose sides share no recording.

    Attributes:
        calibration: of the fold's training clips, evenly spaced; every quantiser is calibrated on them.
        evaluation: of the fold's held-out clips, evenly spaced.
    """

    calibration: Recordings
    evaluation: Recordings

    @classmethod
    def choose(cls, data: Path, fold: int, calibration: int, evaluation: int, progress: Progress = SILENT) -> Clips:
        """Choose at most so many clips of each side of a fold.

        Raises:
            DatasetError: the data set is damaged, has no such fold, or a side of the fold is empty.
        """
        held_out = Recordings.open(data, fold, progress)
        training = held_out.dataset.split(fold, "train")
        if not training or not held_out.clips:
            raise DatasetError(f"{data}: fold {fold} has an empty side; expected training and held-out clips")
        return cls(
            replace(held_out, clips=tuple(evenly(training, calibration)), fold=None),
            replace(held_out, clips=tuple(evenly(held_out.clips, evaluation))),
        )

    def describe_calibration(self) -> str:
        """Return a description of the calibration clips."""
        levels = ", ".join(f"{level:g}" for level in LEVELS)
        count, fold = len(self.calibration.clips), self.evaluation.fold
        return (
            f"{count} training clips of fold {fold} of {self.calibration.dataset.name}, evenly spaced, at {levels} dB"
        )


@dataclass(frozen=True)
class ToolResults:
    """The results of one quantiser.

    Attributes:
        versions: version of its package, by the package's name; empty where it is not installed.
        files: artefacts that it wrote, by title: the quantiser's name and its method's.
        absent: the reason why there is none, by title.
    """

    versions: dict[str, str]
    files: dict[str, Path]
    absent: dict[str, str]


@dataclass(frozen=True)
class QuantisedModels:
    """An evaluation of a float model and of the int8 models made from it, and how they were made."""

    evaluation: Evaluation
    quantisation: Quantisation

    def to_json(self) -> dict[str, JsonValue]:
        """Return the document of the evaluation with a part about the quantisers."""
        import msgspec

        return {**self.evaluation.to_json(), "quantisation": msgspec.to_builtins(self.quantisation)}


def compare(
    checkpoint: Path,
    clips: Clips,
    folder: Path,
    quantisers: Sequence[str],
    lengths: Sequence[int],
    progress: Progress = SILENT,
) -> QuantisedModels:
    """Quantise a causal model by edge-asc and by each quantiser, and compare all with the float model.

    Args:
        checkpoint: of the model.
        clips: to calibrate and to evaluate on.
        folder: for all files.
        quantisers: names of the quantisers.
        lengths: seconds since a reset.
        progress: receives a phase for each step.

    Raises:
        EdgeAscError: the checkpoint cannot be exported, or a clip cannot be read.
    """
    features = list(clips.calibration.features(Checkpoint.load(checkpoint).front_end, progress))
    export(ExportRequest(checkpoint, SCHEMES["none"], FORMATS), folder / "float", progress=progress)
    recordings = _record(folder / "float", features)
    files = _export_int8(checkpoint, clips, features, folder / "int8", progress)
    versions = {"edge-asc": __version__, **{name: version(name) for name in ENGINES}}
    absent: dict[str, str] = {}
    for name in quantisers:
        results = quantise_by(name, recordings, folder, progress)
        versions |= results.versions
        files |= results.files
        absent |= results.absent
    runtimes: list[tuple[str, Runtime]] = [("float", open_runtime(checkpoint))]
    runtimes += [(title, open_runtime(path)) for title, path in files.items()]
    evaluation = evaluate_recordings(clips.evaluation, [str(checkpoint)], runtimes, lengths, progress=progress)
    quantisation = Quantisation(
        calibration=clips.describe_calibration(),
        steps=recordings["onnx"].count_steps(),
        versions=versions,
        files={title: _describe_file(path) for title, path in files.items()},
        absent=absent,
    )
    return QuantisedModels(evaluation, quantisation)


def quantise_by(
    name: str, recordings: Mapping[str, Recording], folder: Path, progress: Progress = SILENT
) -> ToolResults:
    """Quantise by each method of a quantiser, in a process of its own each; a failure is a reason, not an error.

    Args:
        name: of the quantiser.
        recordings: of the float artefact in each format.
        folder: for the files and the tools' logs.
        progress: receives a phase for each method.
    """
    quantiser = QUANTISERS.load(name)
    titles = {f"{name} {method}": method for method in quantiser.methods}
    try:
        versions = {quantiser.distribution: quantiser.installed_version()}
    except MissingExtraError as error:
        return ToolResults({}, {}, dict.fromkeys(titles, str(error)))
    results = ToolResults(versions, {}, {})
    for title, method in titles.items():
        path = folder / f"{title.replace(' ', '-')}.{quantiser.format}"
        try:
            with progress.phase(f"Quantising by {title}"):
                call_in_child(path.with_suffix(".log"), quantise, name, method, recordings[quantiser.format], path)
            results.files[title] = path
        except EdgeAscError as error:
            results.absent[title] = str(error)
    return results


def quantise(name: str, method: str, recording: Recording, path: Path) -> None:
    """Quantise the artefact of a recording, and seal the result as an artefact under the same contract.

    Raises:
        ContractError: the quantiser changed inputs or outputs, or left out the contract; or its engine cannot compute a
            step of the result.
    """
    QUANTISERS.load(name).methods[method](recording.artefact, recording.shuffle(), path)
    path.write_bytes(seal(path.read_bytes()))
    runtime = open_runtime(path)
    Stream(runtime, "step").feed(recording.features[0][: runtime.contract.signature("step").frames])


def _record(exported: Path, features: Sequence[Array]) -> dict[str, Recording]:
    """Return the recording of each format's float artefact, on the clips at the levels that `calibrate` uses."""
    recordings = {}
    for name, entry in Manifest.read(exported).files.items():
        floor = entry.contract.front_end.floor
        streams = tuple(at_level(clip, level, floor) for level in LEVELS for clip in features)
        recordings[entry.format] = Recording(exported / name, streams)
    return recordings


def _export_int8(
    checkpoint: Path, clips: Clips, features: Sequence[Array], folder: Path, progress: Progress
) -> dict[str, Path]:
    """Export the model by edge-asc, calibrated on the features, and return the artefacts by title."""
    loaded = Checkpoint.load(checkpoint)
    if not isinstance(loaded.model, CRNN):
        raise ExportError(f"{loaded.name} is a CNN with global average pooling; only a CRNN is exported")
    source = Source(data=clips.calibration.dataset.name, recorded_on=clips.describe_calibration())
    plan = calibrate(loaded.model, loaded.front_end, features, source=source, progress=progress)
    export(ExportRequest(checkpoint, SCHEMES["int8"], FORMATS, plan=plan), folder, progress=progress)
    return {f"edge-asc {entry.format}": folder / name for name, entry in Manifest.read(folder).files.items()}


def _describe_file(path: Path) -> QuantisedFile:
    """Return the size and the operations of an artefact with a signature "step"."""
    inspection = inspect(path)
    arithmetic = inspection.arithmetic["step"]
    return QuantisedFile(
        bytes=path.stat().st_size,
        integer=arithmetic["integer"],
        float=arithmetic["float"],
        moves=sum(inspection.operations["step"].values()) - sum(arithmetic.values()),
        partitions=inspection.partitions,
        outside=inspection.outside,
    )
