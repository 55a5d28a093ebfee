"""A measurement: a job made of models and clips, done on a target, and the result made of what was found there."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import edge_asc
from edge_asc.contract import StreamContract
from edge_asc.data.scenes import generate_scene
from edge_asc.engine import open_runtime
from edge_asc.errors import EdgeAscError, MissingExtraError
from edge_asc.evaluation.accuracy import Heard, check_comparable, compare
from edge_asc.evaluation.logits import clip_logits, stream_logits
from edge_asc.files import identity
from edge_asc.frontend import Array
from edge_asc.runtime import Runtime
from edge_asc.training.checkpoint import WEIGHTS, is_checkpoint
from edge_asc_bench import job as jobs
from edge_asc_bench.job import AUDIO_SECONDS, Job, Settings, Task
from edge_asc_bench.latency import Latency, disturbances, short
from edge_asc_bench.machine import unknown
from edge_asc_bench.result import KIND, SCHEMA_VERSION
from edge_asc_bench.targets import Target, TargetLostError

Progress = Callable[[str, str, int, int], None]


@dataclass(frozen=True)
class Clips:
    """What accuracy is measured on.

    Attributes:
        name: of the data set.
        features: raw log-mel of each clip, (frames, mels).
        labels: of the data; empty where it has none that the models know: then agreement alone is measured.
        targets: index into `labels` of each clip.
        digest: SHA-256 over the clips, by which two results are known to be about the same audio.
    """

    name: str
    features: Sequence[Array] = field(repr=False)
    labels: tuple[str, ...]
    targets: tuple[int, ...]
    digest: str


@dataclass(frozen=True)
class Model:
    """A model that is measured, opened here to know its contract."""

    name: str
    path: Path
    runtime: Runtime

    @property
    def contract(self) -> StreamContract:
        """The model's."""
        return self.runtime.contract

    @property
    def is_checkpoint(self) -> bool:
        """Float PyTorch, not an artefact."""
        return is_checkpoint(self.path)

    def windows(self, lengths: Sequence[int]) -> tuple[int | None, ...]:
        """What is measured of it: None for the step of a causal model, else windows of these lengths, s.

        Raises:
            EdgeAscError: it has none of these windows.
        """
        if self.contract.form == "causal":
            return (None,)
        windows = tuple(seconds for seconds in self.contract.windows if seconds in lengths)
        if not windows:
            offered = ", ".join(map(str, self.contract.windows))
            raise EdgeAscError(f"{self.name}: has windows of {offered} s; name one of them with --lengths")
        return windows


def bench(
    models: Sequence[tuple[str, Path]],
    clips: Clips,
    settings: Settings,
    targets: Sequence[Target],
    *,
    command: str = "",
    progress: Progress | None = None,
    finished: Callable[[Target, dict[str, Any]], None] = lambda *_: None,
) -> list[dict[str, Any]]:
    """Measure models on each target, all at once; the first checkpoint among them is the reference of the others.

    Checkpoints are run here where a target does not run PyTorch: then nothing but their logits is in its result.

    Args:
        models: name, and checkpoint folder or artefact, of each.
        clips: that accuracy is measured on.
        settings: how is measured.
        targets: where.
        command: that measures the same again, for the record.
        progress: told the target, what is done, and how far.
        finished: told each result, even if another target fails or the measurement is interrupted.

    Returns:
        A result for each target; one that was lost on the way is marked incomplete, with the reason.

    Raises:
        EdgeAscError: a model cannot be opened, a target cannot be used, or a process there ended. The other targets are
            measured all the same.
    """
    tell = progress or (lambda *_: None)
    opened = [Model(name, path, open_runtime(path, threads=settings.threads)) for name, path in models]
    _check(opened, clips, settings)
    tell(targets[0].name, "PyTorch", 0, 1)
    # Before anything is timed: this machine may be one of the targets.
    here = _Here(opened, clips, settings, needed=not all(target.runs_torch for target in targets))
    with ExitStack() as stack:
        runs = [_Run(target, opened, clips, settings, stack) for target in targets]
        try:
            asyncio.run(_measured(runs, tell))
        finally:
            results = []
            for run in (run for run in runs if run.ended):
                try:
                    results.append(_result(run, opened, clips, settings, here, command))
                    finished(run.target, results[-1])
                except Exception as error:
                    run.error = error
    errors = [run.error for run in runs if run.error]
    if len(errors) > 1 and all(isinstance(error, EdgeAscError) for error in errors):
        raise EdgeAscError("\n".join(map(str, errors)))
    if errors:
        raise next((error for error in errors if not isinstance(error, EdgeAscError)), errors[0])
    return results


def _check(models: Sequence[Model], clips: Clips, settings: Settings) -> None:
    """Refuse what cannot be measured before anything is."""
    for i, model in enumerate(models):
        model.windows(settings.lengths)
        if clips.labels:
            pair = [(models[k].name, models[k].contract) for k in _pair(models, i)]
            check_comparable(pair, len(clips.features), clips.targets, clips.labels, sorted(settings.lengths))


Logits = dict[int | None, list[Array]]
"""Of each clip, by the window that it was heard in; None for steps."""


class _Here:
    """What this machine makes of the clips with PyTorch: what no target is asked for.

    Attributes:
        logits: of each checkpoint, where a target does not run it.
        whole: of the reference on whole clips in one pass; None where that is not compared.
    """

    def __init__(self, models: Sequence[Model], clips: Clips, settings: Settings, *, needed: bool) -> None:
        self.logits: dict[int, Logits] = {}
        for i, model in enumerate(models):
            if needed and model.is_checkpoint:
                self.logits[i] = {
                    seconds: clip_logits(model.runtime, clips.features, [seconds] if seconds else ())
                    for seconds in model.windows(settings.lengths)
                }
        self.whole: Heard | None = None
        reference = _reference(models)
        if clips.labels and reference is not None and models[reference].contract.form == "causal":
            from edge_asc.engines.pytorch import TorchRuntime
            from edge_asc.training.checkpoint import Checkpoint

            model = models[reference]
            whole = TorchRuntime(Checkpoint.load(model.path), settings.threads, whole=True)
            logits = stream_logits(whole, clips.features)
            self.whole = Heard(f"{model.name}, whole clip", whole.engine, model.contract, logits)


class _Run:
    """A job on a target, and what came of it.

    Attributes:
        target: that does it.
        tasks: of the job.
        folder: of the job, here.
        found: what the target told.
        lost: why it told no more; None if it did not break off.
        error: that ended it; None if none did.
        ended: with something to report.
    """

    def __init__(
        self, target: Target, models: Sequence[Model], clips: Clips, settings: Settings, stack: ExitStack
    ) -> None:
        self.target, self.found = target, _Found()
        self.seconds = 0.0
        self.lost: str | None = None
        self.error: Exception | None = None
        self.ended = False
        there = [i for i, model in enumerate(models) if target.runs_torch or not model.is_checkpoint]
        files = {i: f"models/{i}/{models[i].path.name}" for i in there}
        self.tasks = tuple(
            Task(i, models[i].name, files[i], seconds) for i in there for seconds in models[i].windows(settings.lengths)
        )
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-asc-")))
        self._job = Job(self.tasks, settings, tuple(map(len, clips.features)))
        sources = {file: models[i].path for i, file in files.items()}
        audio = generate_scene("park", 0, AUDIO_SECONDS)
        self._digest = jobs.write(self.folder, self._job, sources, audio, clips.features)

    async def measure(self, tell: Progress) -> None:
        """Have the target do the job."""

        def told(event: dict[str, Any]) -> None:
            if event["event"] == "progress":
                tell(self.target.name, event["what"], event["done"], event["total"])
            elif event["event"] == "run":
                # If there was another, it ended too soon: nothing of it counts.
                self.found = _Found(event["at"])
            else:
                self.found.take(event)

        begun = time.monotonic()
        try:
            await self.target.run(self.folder, self._job, self._digest, told)
        except TargetLostError as error:
            self.lost = str(error)
        except Exception as error:  # the other targets are measured all the same
            self.error = error
            return
        self.seconds = time.monotonic() - begun
        self.ended = True
        tell(self.target.name, "measured", 1, 1)


async def _measured(runs: Sequence[_Run], tell: Progress) -> None:
    await asyncio.gather(*(run.measure(tell) for run in runs))


def _result(
    run: _Run, models: Sequence[Model], clips: Clips, settings: Settings, here: _Here, command: str
) -> dict[str, Any]:
    found = run.found
    heard = _heard(run, models, here)
    reference = _reference(models)
    if reference is not None and not heard[reference]:
        reference = None
    accuracy, agreement = _compared(models, clips, settings, heard, reference)
    whole = None
    if here.whole and reference is not None:
        both = [here.whole, _as_heard(models[reference], heard[reference][None])]
        whole = compare(both, clips.targets, clips.labels, settings.lengths, reference=1)[0].to_json()
    disturbed = disturbances(found.conditions)
    variants = []
    for i, model in enumerate(models):
        mine = [found.tasks[k] for k, task in enumerate(run.tasks) if task.model == i and k in found.tasks]
        variants.append(_variant(model, mine, accuracy[i], agreement[i], disturbed, settings))
    result = {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "complete": run.lost is None,
        "incomplete": run.lost,
        "made": {
            "edge_asc": edge_asc.__version__,
            "at": found.at or datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(run.seconds, 1),
            "target": run.target.name,
            "command": command,
        },
        "machine": found.machine,
        "conditions": found.conditions,
        "settings": {**asdict(settings), "lengths": list(settings.lengths)},
        "data": {
            "name": clips.name,
            "clips": len(clips.features),
            "sha256": clips.digest,
            "labels": list(clips.labels),
        },
        "reference": None if reference is None else models[reference].name,
        "whole_clip": whole,
        "variants": variants,
    }
    _add_losses(result)
    return result


class _Found:
    """What a target told, so far."""

    def __init__(self, at: str = "") -> None:
        self.at = at
        self.machine = unknown()
        self.conditions: list[dict[str, Any]] = []
        self.tasks: dict[int, _TaskFound] = {}

    def take(self, event: dict[str, Any]) -> None:
        """Keep an event; an error is raised.

        Raises:
            EdgeAscError: the event is one.
        """
        event = dict(event)
        kind = event.pop("event")
        if kind == "error":
            raise EdgeAscError(event["message"])
        if kind == "machine":
            self.machine = event
        elif kind == "conditions":
            self.conditions.append(event)
        elif "task" in event:
            self.tasks.setdefault(event["task"], _TaskFound()).take(kind, event)


class _TaskFound:
    """What a target told of one model in one form."""

    def __init__(self) -> None:
        self.opened: dict[str, Any] = {}
        self.front_end: list[int] | None = []
        self.model: list[int] = []
        self.engine: list[int] = []
        self.rounds: list[float] = []
        self.sustained: dict[str, Any] = {}
        self.memory: dict[str, Any] | None = None
        self.logits: dict[str, Any] | None = None

    def take(self, kind: str, event: dict[str, Any]) -> None:
        match kind:
            case "opened":
                self.opened = event
            case "times":
                self.model += event["model"]
                self.engine += event["engine"]
                self.front_end = None if event["front_end"] is None else (self.front_end or []) + event["front_end"]
                total = np.add(event["model"], event["front_end"] or 0)
                self.rounds.append(short(float(np.median(total)) / 1e6))
            case "sustained":
                self.sustained = event
            case "memory":
                peak = event["peak"] if self.opened["peak_reset"] else None  # else it is that of importing
                parts = {name: self.opened[name] for name in ("bare", "front_end", "imported")}
                self.memory = {"peak": peak, "now": event["now"], **parts}
            case "logits":
                self.logits = event


def _heard(run: _Run, models: Sequence[Model], here: _Here) -> list[Logits]:
    """Logits of each model, from the target; of checkpoints that it did not run, from here."""
    heard: list[Logits] = [{} for _ in models]
    for k, task in enumerate(run.tasks):
        told = run.found.tasks[k].logits if k in run.found.tasks else None
        if told is not None and (run.folder / told["file"]).is_file():
            rows = np.load(run.folder / told["file"])
            heard[task.model][task.seconds] = np.split(rows, np.cumsum(told["rows"])[:-1])
    there = {task.model for task in run.tasks}
    return [here.logits[i] if i not in there else logits for i, logits in enumerate(heard)]


def _as_heard(model: Model, logits: list[Array]) -> Heard:
    return Heard(model.name, model.runtime.engine, model.contract, logits)


def _reference(models: Sequence[Model]) -> int | None:
    """The first checkpoint."""
    return next((i for i, model in enumerate(models) if model.is_checkpoint), None)


def _pair(models: Sequence[Model], index: int) -> list[int]:
    """The first checkpoint of a model's form, and the model; the model alone where there is none, or it is that."""
    form = models[index].contract.form
    alike = (i for i, model in enumerate(models) if model.is_checkpoint and model.contract.form == form)
    return list(dict.fromkeys([next(alike, index), index]))


def _compared(
    models: Sequence[Model], clips: Clips, settings: Settings, heard: Sequence[Logits], reference: int | None
) -> tuple[list[dict[str, Any] | None], list[dict[str, Any] | None]]:
    """Accuracy of each model; or agreement alone, by step, without labels."""
    nothing: list[dict[str, Any] | None] = [None] * len(models)
    if clips.labels:
        return [_accuracy(models, clips, settings, heard, i) for i in range(len(models))], nothing
    agreement = list(nothing)
    if reference is None or None not in heard[reference]:
        return nothing, nothing
    base = models[reference].contract
    expected = np.concatenate(heard[reference][None])
    for i, model in enumerate(models):
        if i == reference or None not in heard[i] or model.contract.labels != base.labels:
            continue
        logits = np.concatenate(heard[i][None])
        error = np.abs(logits - expected)
        agreement[i] = {
            "steps": len(logits),
            "share": float((logits.argmax(1) == expected.argmax(1)).mean()),
            "mean_error": float(error.mean()),
            "max_error": float(error.max()),
        }
    return nothing, agreement


def _accuracy(
    models: Sequence[Model],
    clips: Clips,
    settings: Settings,
    heard: Sequence[Logits],
    index: int,
) -> dict[str, Any] | None:
    """One model beside the checkpoint that it is compared with, at the lengths that both have."""
    pair = [i for i in _pair(models, index) if heard[i] or i == index]
    lengths = set(settings.lengths)
    for i in pair:
        windows = {seconds for seconds in heard[i] if seconds is not None}
        lengths &= windows if windows else lengths if heard[i] else set()
    if not lengths:
        return None
    both = [_as_heard(models[i], _rows(heard[i], lengths)) for i in pair]
    return compare(both, clips.targets, clips.labels, sorted(lengths))[-1].to_json()


def _rows(logits: Logits, lengths: set[int]) -> list[Array]:
    """Of each clip: its steps, or the rows of its windows one after another."""
    if None in logits:
        return logits[None]
    windows = [logits[seconds] for seconds in sorted(lengths)]
    return [np.concatenate(rows) for rows in zip(*windows, strict=True)]


def describe_model(model: Model) -> dict[str, Any]:
    """What is known of a model without running it, as the fields of a result's variant; all else in it is empty."""
    contract = model.contract
    digest, size = identity(model.path / WEIGHTS if model.is_checkpoint else model.path)
    state = contract.signatures[0].states() or contract.signatures[-1].states()
    return {
        "name": model.name,
        "file": model.path.name,
        "sha256": digest,
        "checkpoint_sha256": digest if model.is_checkpoint else contract.provenance.get("checkpoint_sha256", ""),
        "bytes": size,
        "engine": model.runtime.engine,
        "form": contract.form,
        "scheme": contract.scheme,
        "parameters": contract.parameters,
        "macs": dict(contract.macs),
        "state_bytes": sum(int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize for spec in state),
        "graph": _graph(model.path) if model.path.is_file() else None,
        "latency": {},
        **dict.fromkeys(("memory", "accuracy", "agreement", "loss", "instructions")),
    }


def _variant(
    model: Model,
    tasks: Sequence[_TaskFound],
    accuracy: dict[str, Any] | None,
    agreement: dict[str, Any] | None,
    disturbed: Sequence[str],
    settings: Settings,
) -> dict[str, Any]:
    described = describe_model(model)
    timed = dict(zip(model.windows(settings.lengths), tasks, strict=False))
    memory = [task.memory for task in tasks if task.memory]
    return {
        **described,
        "engine": tasks[0].opened["engine"] if tasks else described["engine"],
        "latency": {
            "step" if seconds is None else f"{seconds}": _latency(
                task, model.contract, seconds, disturbed, settings.duration
            )
            for seconds, task in timed.items()
            if task.model
        },
        "memory": max(memory, key=lambda found: found["peak"] or 0) if memory else None,
        "accuracy": accuracy,
        "agreement": agreement,
    }


def _latency(
    task: _TaskFound, contract: StreamContract, seconds: int | None, disturbed: Sequence[str], duration: float
) -> dict[str, Any]:
    model = Latency.of(task.model)
    front_end = None if task.front_end is None else Latency.of(task.front_end)
    total = model
    if task.front_end is not None:
        total = Latency.of([a + b for a, b in zip(task.front_end, task.model, strict=True)])
    period = contract.signature("step").samples / contract.front_end.sample_rate if seconds is None else 0.25
    return {
        "front_end": front_end and front_end.to_json(),
        "model": model.to_json(),
        "engine": Latency.of(task.engine).to_json(),
        "total": total.to_json(),
        "rounds_ms": task.rounds,
        "period_s": period,
        "real_time_factor": total.mean / 1000 / period,
        "load_ms": task.opened["load_ms"],
        "cold_start_ms": task.opened["cold_start_ms"],
        "sustained": _drift(task.sustained, duration, period),
        "unstable": [*total.doubts(), *disturbed],
    }


def _drift(told: Mapping[str, Any], duration: float, period: float) -> dict[str, Any] | None:
    """The first and the last tenth of a run without a pause, and the memory before and after it."""
    if not told:
        return None
    medians = told["medians"]
    tenth = max(1, len(medians) // 10)
    first, last = float(np.median(medians[:tenth])), float(np.median(medians[-tenth:]))
    parts = np.array_split(np.asarray(medians), min(len(medians), 60))
    return {
        "seconds": duration,
        "audio_seconds": told["decisions"] * period,
        "resident": told["resident"],
        "first_ms": first,
        "last_ms": last,
        "ratio": last / first,
        "medians_ms": [short(float(np.median(part))) for part in parts],
    }


def _add_losses(result: dict[str, Any]) -> None:
    """Give each variant what streaming, export and quantisation cost it: points by length, and over all steps.

    The rows of a deployment, each against the one above: whole clip, stream, float artefact, quantised artefact, all of
    the reference's checkpoint. The float artefact of a quantised one has its engine and form; without one, export and
    quantisation cannot be told apart and both are None.
    """
    variants = result["variants"]
    base = next((v for v in variants if v["name"] == result["reference"]), None)
    if base is None or base["accuracy"] is None:
        return

    def plain(variant: dict[str, Any]) -> dict[str, Any] | None:
        if variant["scheme"] == "none":
            return variant
        keys = ("engine", "form", "checkpoint_sha256")
        return next(
            (v for v in variants if v["scheme"] == "none" and all(v[k] == variant[k] for k in keys) and v["accuracy"]),
            None,
        )

    for variant in variants:
        if variant["checkpoint_sha256"] != base["checkpoint_sha256"] or variant["accuracy"] is None:
            continue
        loss = {"streaming": _lost(result["whole_clip"], base["accuracy"]), "export": None, "quantisation": None}
        if variant is not base and (other := plain(variant)):
            loss["export"] = _lost(base["accuracy"], other["accuracy"])
            if variant is not other:
                loss["quantisation"] = _lost(other["accuracy"], variant["accuracy"])
        variant["loss"] = loss


def _lost(above: Mapping[str, Any] | None, below: Mapping[str, Any]) -> dict[str, float] | None:
    """Points of accuracy lost from one row to the next."""
    if above is None:
        return None
    mine = {row["seconds"]: row["accuracy"] for row in below["lengths"]}
    rows = [(row["seconds"], row["accuracy"]) for row in above["lengths"] if row["seconds"] in mine]
    points = {f"{seconds:g}": round(100 * (share - mine[seconds]), 3) for seconds, share in rows}
    return {**points, "all": round(100 * (above["all_steps"]["accuracy"] - below["all_steps"]["accuracy"]), 3)}


def _graph(path: Path) -> Mapping[str, Any] | None:
    try:
        from edge_asc_export.inspection import inspect

        return inspect(path).to_json()
    except (ImportError, MissingExtraError):
        return None
