"""`edge-asc evaluate --stream`: models on an endless stream mixed from a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.table import Table

from edge_asc.cli.console import ConsoleProgress
from edge_asc.data.dataset import Dataset
from edge_asc.detection.rules import EventRules
from edge_asc.engine import open_runtime
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.endless import DAY, StreamScore, calibrate, follow, score_stream
from edge_asc.evaluation.mixing import mix_stream
from edge_asc.evaluation.models import leakage_notes
from edge_asc.evaluation.soundscape import Mixture
from edge_asc.files import write_json
from edge_asc.jsonobject import JsonValue
from edge_asc.manifest import Manifest, update_contract
from edge_asc.rule import DecisionRule
from edge_asc.runtime import Runtime
from edge_asc.training.checkpoint import METADATA, is_checkpoint, read_metadata

# 1: first version.
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class StreamRequest:
    """A request for `evaluate --stream`.

    Attributes:
        data: folder of the data set of the sounds.
        fold: fold whose held-out clips are used; None for all clips.
        background: folder of a data set; its clips of labels that `data` lacks are the background.
        mixture: how the stream is mixed.
        decisions: rules to try; empty for each model's own.
        event_decision: rule of events; None for each model's own.
        per_day: false alarms a day that thresholds are chosen for; None for the models' own thresholds.
    """

    data: Path
    fold: int | None
    background: Path | None
    mixture: Mixture
    decisions: tuple[DecisionRule, ...] = ()
    event_decision: DecisionRule | None = None
    per_day: float | None = None


@dataclass(frozen=True)
class StreamResult:
    """One model with one decision rule on the stream.

    Attributes:
        model: name of the model.
        decision: the rule.
        rules: when a probability is an event.
        score: what came of it.
    """

    model: str
    decision: DecisionRule
    rules: EventRules
    score: StreamScore


@dataclass(frozen=True)
class StreamEvaluation:
    """The document that `evaluate --stream --json` prints.

    Attributes:
        data: name of the data set's folder.
        fold: fold whose held-out clips were used; None for all clips.
        background: name of the data set of the background; None for faint noise.
        mixture: how the stream was mixed.
        results: one for each model and rule.
        notes: remarks, such as on clips that a model was trained on.
    """

    data: str
    fold: int | None
    background: str | None
    mixture: Mixture
    results: tuple[StreamResult, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object."""
        mixture = self.mixture
        return {
            "kind": "stream_evaluation",
            "schema_version": SCHEMA_VERSION,
            "data": self.data,
            "fold": self.fold,
            "background": self.background,
            "mixture": {
                "seconds": mixture.seconds,
                "event": mixture.event,
                "pause": mixture.pause,
                "gain": list(mixture.gain),
                "background": mixture.background,
                "background_pause": mixture.background_pause,
                "seed": mixture.seed,
            },
            "results": [
                {"model": r.model, "decision": str(r.decision), "events": r.rules.to_json(), **r.score.to_json()}
                for r in self.results
            ],
            "notes": list(self.notes),
        }


def run_stream(
    request: StreamRequest, models: Sequence[str], runtimes: Sequence[tuple[str, Runtime]]
) -> StreamEvaluation:
    """Run models over one stream, and score each with each decision rule.

    With a rate of false alarms, the first half of the stream chooses the thresholds of each model, and the second half
    judges them.

    Raises:
        EdgeAscError: a windowed model, labels of the data that a model does not know, or a stream that is too short.
    """
    progress = ConsoleProgress()
    soundscape = mix_stream(request.data, request.fold, request.background, request.mixture, progress)
    pairs = []
    for name, runtime in runtimes:
        contract = runtime.contract
        if contract.form != "causal":
            raise EdgeAscError(f"{name} is a windowed model; a stream without an end needs a causal one")
        if strange := sorted(set(soundscape.labels) - set(contract.labels)):
            raise EdgeAscError(f"{name} does not know {', '.join(strange)}; evaluate it on clips of its own labels")
        rules = contract.event_rules
        if request.event_decision is not None:
            rules = replace(rules, decision=request.event_decision, false_alarms_per_day=None, measured_on="")
        pairs += [(name, runtime, rule, rules) for rule in request.decisions or (contract.live,)]
    followed = follow(soundscape, [(runtime, rule, rules) for _, runtime, rule, rules in pairs], progress)
    measured_on = describe_stream(request)
    results = []
    for (name, _, rule, rules), each in zip(pairs, followed, strict=True):
        if request.per_day is not None:
            first, each = each.split()
            rules = calibrate(first, soundscape.intervals, rules, request.per_day, measured_on)
        results.append(StreamResult(name, rule, rules, score_stream(each, soundscape.intervals, rules)))
    dataset = Dataset.open(request.data)
    clips = dataset.clips if request.fold is None else dataset.split(request.fold, "evaluate")
    background = None if request.background is None else request.background.name
    return StreamEvaluation(
        request.data.name,
        request.fold,
        background,
        request.mixture,
        tuple(results),
        tuple(leakage_notes(models, clips)),
    )


def describe_stream(request: StreamRequest) -> str:
    """Return the stream in words."""
    part = "all clips" if request.fold is None else f"the held-out clips of fold {request.fold}"
    mixture = request.mixture
    text = f"{mixture.seconds / 3600:g} h of {part} of {request.data.name}, pauses of {mixture.pause:g} s"
    if request.background is None:
        return text
    return f"{text}, and of other sounds of {request.background.name}, pauses of {mixture.background_pause:g} s"


def write_rules(model: str, result: StreamResult) -> Path:
    """Write calibrated rules into the contract of an artefact, of all artefacts of a bundle, or into a checkpoint.

    Returns:
        The file or folder that was changed.

    Raises:
        ContractError: there is no room for them in the artefact.
        OutputError: a file cannot be written.
    """
    path = Path(model)
    if not path.exists():
        raise EdgeAscError(f"{model}: calibrated rules are written into files of your own; export it first")
    if is_checkpoint(path):
        write_json(path / METADATA, {**read_metadata(path), "events": result.rules.to_json()})
        return path
    files = [path / name for name in Manifest.read(path).files] if path.is_dir() else [path]
    for file in files:
        runtime = open_runtime(file)
        update_contract(file, replace(runtime.contract, live=result.decision, events=result.rules))
    return path


def stream_table(results: Sequence[StreamResult]) -> Table:
    """Return a table with a row for each model and rule."""
    hours = results[0].score.seconds / 3600
    table = Table(title=f"Events in {hours:.1f} h")
    table.add_column("model")
    table.add_column("decision")
    for column in (
        "detected, %",
        "false alarms a day",
        "s to detection",
        "wrong steps, %",
        "changes a minute",
        "s to label",
    ):
        table.add_column(column, justify="right")
    for each in results:
        score, total = each.score, each.score.total
        changes = f"{score.changes_per_minute:.1f} (true {score.true_changes_per_minute:.1f})"
        table.add_row(
            each.model,
            str(each.decision),
            _share(total.detection_rate),
            f"{total.false_alarms * DAY / score.seconds:.1f}",
            _seconds(total.delay),
            f"{100 * score.error_rate:.1f}",
            changes,
            _seconds(score.seconds_to_label),
        )
    return table


def label_table(result: StreamResult) -> Table:
    """Return a table with a row for each label of one model."""
    table = Table(title=f"{result.model}, {result.decision}: events by label")
    table.add_column("label")
    for column in ("threshold", "sounds", "detected, %", "false alarms a day", "s to detection"):
        table.add_column(column, justify="right")
    for label, score in result.score.labels.items():
        per_day = f"{score.false_alarms * DAY / result.score.seconds:.1f}"
        threshold = f"{result.rules.of(label):.2f}"
        table.add_row(label, threshold, str(score.sounds), _share(score.detection_rate), per_day, _seconds(score.delay))
    return table


def _share(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def _seconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.1f}"
