"""The comparison: every artefact in every host that runs it, with golden vectors as the expectation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import edge_asc
from edge_asc.errors import EdgeAscError, MissingExtraError
from edge_asc.frontend import Array
from edge_asc.progress import SILENT, Progress
from edge_asc_bench import machine
from edge_asc_bench.golden import ArtefactVectors, read
from edge_asc_bench.golden_files import load
from edge_asc_conformance.host import HOSTS, Host, Inference, Task

KIND = "hosts"
# 1: first version.
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        rounds: interleaved rounds of all hosts.
        passes: over the samples, in each round.
    """

    rounds: int = 3
    passes: int = 3


@dataclass(frozen=True)
class Comparison:
    """One artefact in one host, compared with the golden vectors.

    Attributes:
        steps: number of steps.
        equal: whether all logits are equal, bit for bit.
        max_error: largest error of a logit.
        agreement: share of steps with the same most probable label by the rule for streams, 0 to 1.
        answers: share of steps with the same label to report, 0 to 1.
        events: whether the events are the reference's, with the same starts and ends.
        milliseconds: median time of a step, with the decision rules in the host's language.
        ratio: of that time to the reference's, in this run.
        holds: whether error and agreement are within the tolerances of the golden vectors.
    """

    steps: int
    equal: bool
    max_error: float
    agreement: float
    answers: float
    events: bool
    milliseconds: float
    ratio: float
    holds: bool


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        artefact: file, relative to the golden vectors.
        scheme: of its quantisation.
        host: name that the host is registered under.
        title: name of the host for readers.
        version: of its package; "" if it is not installed.
        comparison: None if the host did not run.
        reason: why it did not run; "" otherwise.
    """

    artefact: str
    scheme: str
    host: str
    title: str
    version: str
    comparison: Comparison | None
    reason: str = ""


@dataclass(frozen=True)
class Conformance:
    """All rows, and how they were measured.

    Attributes:
        command: that measures the same again.
        settings: of the measurement.
        machine: on which it ran.
        rows: by artefact, the reference first.
    """

    command: str
    settings: Settings
    machine: machine.Machine
    rows: tuple[Row, ...]

    @property
    def holds(self) -> bool:
        """Whether every host that ran is within the tolerances."""
        return all(row.comparison.holds for row in self.rows if row.comparison)

    def to_json(self) -> dict[str, object]:
        """Return a JSON object."""
        return {
            "kind": KIND,
            "schema_version": SCHEMA_VERSION,
            "edge_asc": edge_asc.__version__,
            "command": self.command,
            "settings": asdict(self.settings),
            "machine": asdict(self.machine),
            "holds": self.holds,
            "rows": [asdict(row) for row in self.rows],
        }


@dataclass
class _Runner:
    """One host for one artefact: its inferences so far, or the reason why there are none."""

    name: str
    host: Host
    version: str
    reason: str
    inferences: list[Inference]


def measure(
    golden: Path, modules: Path, settings: Settings, *, command: str = "", progress: Progress = SILENT
) -> Conformance:
    """Stream the golden samples through every artefact in every host, in interleaved rounds.

    Args:
        golden: folder that `edge-asc conformance golden` wrote.
        modules: folder node_modules of the hosts in JavaScript.
        settings: of the measurement.
        command: for the document.
        progress: receives a unit of work for each artefact.

    Raises:
        EdgeAscError: no golden vectors there, or a reference failed.
    """
    document = read(golden)
    rows: list[Row] = []
    for vectors in progress.track(document.artefacts, "Streaming in all hosts"):
        task = Task(golden, vectors.file, document.samples_float, settings.passes, modules)
        runners = [_open(name, host(), vectors, modules) for name, host in _hosts_of(vectors)]
        for _ in range(settings.rounds):
            for runner in runners:
                _infer(runner, task)
        rows += _summarise(golden, vectors, runners)
    return Conformance(command, settings, machine.describe(), tuple(rows))


def _hosts_of(vectors: ArtefactVectors) -> list[tuple[str, type[Host]]]:
    """Return the hosts of an artefact's format by name, the reference first."""
    suffix = Path(vectors.file).suffix
    hosts = [(name, host) for name, host in HOSTS.all().items() if host.suffix == suffix]
    return sorted(hosts, key=lambda pair: not pair[1].reference)


def _open(name: str, host: Host, vectors: ArtefactVectors, modules: Path) -> _Runner:
    try:
        version = host.version(modules)
    except MissingExtraError as error:
        if host.reference:
            raise
        return _Runner(name, host, "", str(error), [])
    return _Runner(name, host, version, host.unsupported.get(vectors.scheme, ""), [])


def _infer(runner: _Runner, task: Task) -> None:
    """Stream once more, unless the host cannot."""
    if runner.reason:
        return
    try:
        runner.inferences.append(runner.host.infer(task))
    except EdgeAscError as error:
        if runner.host.reference:
            raise
        runner.reason = f"failed: {error}"


def _summarise(golden: Path, vectors: ArtefactVectors, runners: Sequence[_Runner]) -> list[Row]:
    reference = runners[0].inferences
    expected = load(golden, vectors.logits, len(reference[0].logits[0]))
    rows = []
    for runner in runners:
        has_run = runner.inferences and not runner.reason
        comparison = _compare(vectors, expected, reference, runner.inferences) if has_run else None
        row = Row(
            vectors.file, vectors.scheme, runner.name, runner.host.title, runner.version, comparison, runner.reason
        )
        rows.append(row)
    return rows


def _compare(
    vectors: ArtefactVectors, expected: Array, reference: Sequence[Inference], inferences: Sequence[Inference]
) -> Comparison:
    """Compare all inferences of a host with the golden vectors; each of them counts, and the worst one is shown."""
    logits = np.array([inference.logits for inference in inferences], np.float32)
    error = np.abs(logits - expected)
    indices = np.array([inference.probabilities for inference in inferences]).argmax(-1)
    agreement = float((indices == np.array(vectors.decisions)).mean(-1).min())
    times = {name: _median(each) for name, each in {"own": inferences, "reference": reference}.items()}
    tolerance = vectors.other_runtimes
    return Comparison(
        steps=vectors.steps,
        equal=bool((error == 0).all()),
        max_error=float(error.max()),
        agreement=agreement,
        answers=float((np.array([each.answers for each in inferences]) == np.array(vectors.answers)).mean(-1).min()),
        events=all(_spans(each) == _spans(reference[0]) for each in inferences),
        milliseconds=times["own"],
        ratio=times["own"] / times["reference"],
        holds=bool(error.max() <= tolerance.logits and agreement >= tolerance.agreement),
    )


def _median(inferences: Sequence[Inference]) -> float:
    """Return the median time of a step, ms."""
    return float(np.median([time for inference in inferences for time in inference.milliseconds]))


def _spans(inference: Inference) -> list[tuple[str, float, float | None]]:
    return [(event.label, round(event.start, 6), event.end and round(event.end, 6)) for event in inference.events]
