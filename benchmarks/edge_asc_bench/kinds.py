"""The JSON documents that a page shows, beside results of benchmarks: their types, as far as the page reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from edge_asc.closeness import Closeness
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation import document as evaluations
from edge_asc.evaluation.predictions import Predictions
from edge_asc.manifest import SCHEMA_VERSION as MANIFEST_VERSION
from edge_asc.reproduction.figure3 import Figure3
from edge_asc.reproduction.figure4 import Figure4
from edge_asc.reproduction.table1 import Table1
from edge_asc_bench import document, plausibility
from edge_asc_bench.part import Count, Part, Size
from edge_asc_bench.result import KIND, Accuracy, Result, read
from edge_asc_bench.training import Training, load_training

EXPECTED = "what bench, conformance, cost and reproduce write, or what export, classify or evaluate print with --json"
ADVICE = "make it again with this version"


class Decision(Struct, frozen=True):
    """One decision of a classification: time, s; label; probability of each label."""

    time: float
    label: str
    probabilities: tuple[float, ...]


class Classification(Struct, frozen=True):
    """The JSON of `edge-asc classify`; `labels` name the probabilities of each decision."""

    source: str
    model: str
    engine: str
    scheme: str
    decisions: tuple[Decision, ...]
    labels: tuple[str, ...] = ()


class QuantisedFile(Part, frozen=True, kw_only=True):
    """A file that a quantiser wrote.

    Attributes:
        bytes: its size.
        integer, float: number of operations that compute in integers and in float.
        moves: number of operations that only move, convert or name values.
        partitions: number of parts that a delegate takes; None where that is unknown.
        outside: number of operations that the delegate does not take; None where that is unknown.
    """

    bytes: Size
    integer: Count
    float: Count
    moves: Count
    partitions: Count | None
    outside: Count | None


class Quantisation(Part, frozen=True, kw_only=True):
    """The quantisers whose results an evaluation compares: the part that `edge-asc quantisers` adds.

    Attributes:
        calibration: description of the clips that all were calibrated on.
        steps: number of steps in these clips.
        versions: version of each package, by its name.
        files: the files that were written, by the name of the result.
        absent: the reason why a result is missing, by its name.
    """

    calibration: str
    steps: Size
    versions: dict[str, str]
    files: dict[str, QuantisedFile]
    absent: dict[str, str]


class Evaluation(Struct, frozen=True):
    """Models on the clips of a data set: the JSON of `edge-asc evaluate`, and of a training about its held-out clips.

    Attributes:
        data: name of the data set's folder.
        clips: number of clips.
        fold: fold whose held-out clips were used; None for all clips.
        results: accuracy of each model.
        folder: of the data set, absolute or relative to that of the document; "" where it is not known.
        predictions: the decisions of each model on single clips.
        quantisation: of a comparison of quantisers.
    """

    data: str
    clips: Count
    fold: int | None
    results: Annotated[tuple[Accuracy, ...], Meta(min_length=1)]
    folder: str = ""
    predictions: tuple[Predictions, ...] = ()
    quantisation: Quantisation | UnsetType = UNSET


class Parity(Struct, frozen=True):
    """Differences between an artefact and PyTorch; see `edge_asc_export.parity`."""

    audio: str
    steps: int
    agreement: float
    agreement_by_length: dict[str, float]
    max_error: float
    mean_error: float
    max_error_first: float
    max_error_last: float
    closeness: Closeness | None = None


class Measured(Struct, frozen=True):
    """The measurements inside a contract."""

    parity: Parity


class ExportedContract(Struct, frozen=True):
    """The part of a contract that the page reads."""

    measured: Measured


class ExportedFile(Struct, frozen=True):
    """An artefact in a manifest."""

    engine: str
    bytes: int
    contract: ExportedContract


class Export(Struct, frozen=True):
    """The JSON of `edge-asc export`, which is the manifest of a bundle."""

    name: str
    files: dict[str, ExportedFile]


class ComparedArtefact(Struct, frozen=True):
    """One artefact on one processor; see `edge_asc_arm.conformance.Comparison`."""

    artefact: str
    engine: str
    processor: str
    equal: bool
    max_error: float
    agreement: float
    tolerance: float
    holds: bool


class Here(Struct, frozen=True):
    """The machine that boards are compared with."""

    machine: str
    engines: tuple[str, ...]


class FrontEndErrors(Struct, frozen=True):
    """Largest differences of features by processor."""

    tolerance: float
    max_error: dict[str, float]


class Conformance(Struct, frozen=True):
    """The JSON of `edge-asc arm conformance`."""

    here: Here
    front_end: FrontEndErrors
    holds: bool
    comparisons: tuple[ComparedArtefact, ...]


@dataclass(frozen=True)
class Documents:
    """The documents of one page, by kind."""

    benches: list[Result] = field(default_factory=list)
    exports: list[Export] = field(default_factory=list)
    classifications: list[Classification] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    conformances: list[Conformance] = field(default_factory=list)
    tables1: list[Table1] = field(default_factory=list)
    figures3: list[Figure3] = field(default_factory=list)
    figures4: list[Figure4] = field(default_factory=list)
    trainings: list[Training] = field(default_factory=list)

    def add(self, path: Path) -> None:
        """Read a document and add it; of the folder of a training, its logs and the document about its held-out clips.

        Raises:
            EdgeAscError: not JSON, not the JSON of a command, or a damaged one; a folder that no training has written.
        """
        if path.is_dir():
            training = load_training(path)
            self.trainings.append(training)
            if not training.has_predictions:
                return
            path /= evaluations.HELD_OUT
        value = document.load(path, EXPECTED)
        kind = value["kind"]
        if kind == KIND:
            self.benches.append(read(path))
        elif isinstance(kind, str) and kind in READERS:
            READERS[kind](self, path, value)
        else:
            known = ", ".join((KIND, *READERS))
            raise EdgeAscError(f"{path}: a result of kind {kind!r}; expected one of: {known}")


def _convert(
    path: Path, value: document.Document, kind: type[document.T], check: Callable[[document.T], None], version: int = 1
) -> document.T:
    document.check_version(path, value, str(value["kind"]), version, "edge-asc")
    converted = document.convert(path, value, kind, ADVICE)
    document.validate(path, lambda: check(converted), ADVICE)
    return converted


def _read_evaluation(path: Path, value: document.Document) -> Evaluation:
    """Return an evaluation with the data set's folder as a path from here."""
    evaluation = _convert(path, value, Evaluation, plausibility.check_evaluation, evaluations.SCHEMA_VERSION)
    folder = str(path.parent / evaluation.folder) if evaluation.folder else ""
    return msgspec.structs.replace(evaluation, folder=folder)


Reader = Callable[[Documents, Path, document.Document], None]
READERS: dict[str, Reader] = {
    "export": lambda to, path, value: to.exports.append(
        _convert(path, value, Export, plausibility.check_export, MANIFEST_VERSION)
    ),
    "classification": lambda to, path, value: to.classifications.append(
        _convert(path, value, Classification, plausibility.check_classification)
    ),
    evaluations.KIND: lambda to, path, value: to.evaluations.append(_read_evaluation(path, value)),
    "conformance": lambda to, path, value: to.conformances.append(
        _convert(path, value, Conformance, plausibility.check_conformance)
    ),
    "table1": lambda to, path, value: to.tables1.append(_convert(path, value, Table1, plausibility.check_table1)),
    "figure3": lambda to, path, value: to.figures3.append(_convert(path, value, Figure3, plausibility.check_figure3)),
    "figure4": lambda to, path, value: to.figures4.append(_convert(path, value, Figure4, plausibility.check_figure4)),
}


def load(paths: Sequence[Path]) -> Documents:
    """Read the documents of a page; errors as of `Documents.add`."""
    documents = Documents()
    for path in paths:
        documents.add(path)
    return documents
