"""A measurement: a job made of models and clips, done on targets, and the result of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import msgspec

import edge_asc
from edge_asc.data.scenes import generate_scene
from edge_asc.errors import EdgeAscError
from edge_asc.progress import SILENT, Phase, Progress
from edge_asc.scratch import scratch_folder
from edge_asc_bench import job as jobs
from edge_asc_bench.eventloop import run_to_end
from edge_asc_bench.events import Event, MessageError, Progressed
from edge_asc_bench.inputs import Clips, Model, all_models_from, clips_from
from edge_asc_bench.job import AUDIO_SECONDS, Job, Settings, Task
from edge_asc_bench.latency import disturbances
from edge_asc_bench.observation import Logits, Observation
from edge_asc_bench.quality import (
    add_losses,
    check_measurable,
    measure_accuracy,
    measure_agreement,
    measure_whole_clips,
)
from edge_asc_bench.reference import HostReference, find_reference
from edge_asc_bench.result import Accuracy, Data, Made, MeasuredSettings, Result, Variant
from edge_asc_bench.streams import Streamed, StreamPlan, add_streams, run_stream
from edge_asc_bench.target import AppTarget, Target, TargetLostError, open_target
from edge_asc_bench.variant import describe_model, make_variant

Finished = Callable[[str, Result], None]


@dataclass(frozen=True)
class Benchmark:
    """The subject of a measurement.

    Attributes:
        models: name, and checkpoint folder or artefact, of each; the first checkpoint is the reference of the others.
        clips: that accuracy is measured on.
        settings: of the benchmark.
        command: that measures the same again, for the record.
        stream: endless stream that events are measured on, by this machine; None for none.
    """

    models: Sequence[tuple[str, Path]]
    clips: Clips
    settings: Settings
    command: str = ""
    stream: StreamPlan | None = None

    @classmethod
    def of(
        cls,
        models: Sequence[str],
        data: Path | None,
        fold: int | None,
        settings: Settings,
        progress: Progress = SILENT,
    ) -> Self:
        """Return the measurement of models that a user names, on labelled clips or on generated scenes.

        Args:
            models: checkpoints, artefacts, bundles or names of pretrained models.
            data: folder of labelled recordings; None for generated scenes.
            fold: only its held-out clips; None for all.
            settings: of the benchmark.
            progress: receives phases for the data set.

        Raises:
            ContractError: there is no such model, or one is named twice.
            DatasetError: something is wrong with the data set, or it has no such fold.
        """
        entries = all_models_from(models)
        return cls(entries, clips_from(entries[0][1], data, fold, progress), settings)


def bench_models(
    models: Sequence[str | Path],
    *,
    data: str | Path | None = None,
    fold: int | None = None,
    target: str = "local",
    settings: Settings | None = None,
    progress: Progress = SILENT,
) -> Result:
    """Measure latency, memory and accuracy of models side by side, on this machine or on another one.

    This is what `edge-asc bench` does for one target. It needs `edge-asc[bench]`.

    Args:
        models: checkpoints, artefacts, bundles or names of pretrained models. The others are compared with the first
            checkpoint, which runs in float PyTorch.
        data: labelled recordings, for accuracy; None for agreement with the first checkpoint on generated scenes.
        fold: number of a fold of `data`, whose held-out clips alone are used; None for all clips.
        target: URL of a machine, such as "local" or "ssh://pi@raspberrypi.local".
        settings: rounds, lengths in s, threads; None for 25 rounds, 1 to 10 s, one thread.
        progress: receives a phase for the target.

    Returns:
        The result: a variant for each model with times in ms, memory in bytes, and shares from 0 to 1. `complete` is
        False where a model failed or the target was lost. `to_json()` gives the document that `edge-asc report` reads,
        and that `check` compares with an earlier one.

    Raises:
        ContractError: there is no such model, one is named twice, or one cannot be opened.
        DatasetError: something is wrong with the data set, or it has no such fold.
        EdgeAscError: the target cannot be used.

    Examples:
        >>> from edge_asc_bench import Settings, bench_models
        >>> result = bench_models(["fuse-int8"], settings=Settings(lengths=(1,), rounds=2))
        >>> latency = result.variants[0].latency["step"]
        >>> print(f"median of a decision: {latency.total.p50:.3f} ms")  # doctest: +ELLIPSIS
        median of a decision: ... ms

        `check` compares a result with an earlier one, so keep it:

        >>> import json
        >>> from pathlib import Path
        >>> written = Path("bench.json").write_text(json.dumps(result.to_json()))
    """
    folder = None if data is None else Path(data)
    benchmark = Benchmark.of([str(model) for model in models], folder, fold, settings or Settings(), progress)
    (result,) = bench(benchmark, [open_target(target)], progress=progress)
    return result


def bench(
    benchmark: Benchmark,
    targets: Sequence[Target],
    *,
    progress: Progress = SILENT,
    finished: Finished = lambda *_: None,
) -> list[Result]:
    """Measure models on all targets at the same time.

    The host runs checkpoints for the targets that do not run PyTorch: results then hold nothing of them but accuracy.

    Args:
        benchmark: to do.
        targets: to do it on.
        progress: receives a phase for each target.
        finished: receives the name of a target and its result as soon as there is one, even if another target fails.

    Returns:
        A result for each target; that of a target that was lost is marked incomplete, with the reason.

    Raises:
        EdgeAscError: a model cannot be opened, a target cannot be used, or a process there ended. The other targets are
            measured all the same.
    """
    settings, clips = benchmark.settings, benchmark.clips
    models = [Model.open(name, path, settings.threads) for name, path in benchmark.models]
    check_measurable(models, clips, settings)
    with progress.phase("running PyTorch"):
        # Before anything is timed: this machine may be one of the targets.
        needed = not all(target.runs_torch for target in targets)
        host = HostReference(models, clips, settings, needed=needed)
    streamed = None if benchmark.stream is None else run_stream(models, benchmark.stream, progress)
    with ExitStack() as stack:
        runs = []
        for target in targets:
            title = f"{target.name}: " if len(targets) > 1 else ""
            phase = stack.enter_context(progress.phase(f"{title}starting"))
            folder = stack.enter_context(scratch_folder())
            runs.append(_TargetRun(target, models, benchmark, folder, _Titled(phase, title)))
        results = []
        try:
            run_to_end(_measure_all(runs))
        finally:
            for run in (run for run in runs if run.ended):
                try:
                    results.append(_with_stream(_make_result(run, models, benchmark, host), streamed))
                    finished(run.target.name, results[-1])
                except Exception as error:
                    run.error = error
    _raise_errors([run.error for run in runs if run.error])
    return results


def _with_stream(result: Result, streamed: Streamed | None) -> Result:
    """Return a result with the scores of its models on the stream."""
    if streamed is None:
        return result
    return msgspec.structs.replace(result, variants=add_streams(result.variants, streamed), stream=streamed.stream)


def bench_app(target: AppTarget, model: str, settings: Settings, command: str, phase: Phase) -> Result:
    """Measure a model of an application on a device; see `AppTarget.measure`."""
    result = run_to_end(target.measure(model, settings, phase))
    return msgspec.structs.replace(result, made=msgspec.structs.replace(result.made, command=command))


def _raise_errors(errors: Sequence[Exception]) -> None:
    if len(errors) > 1 and all(isinstance(error, EdgeAscError) for error in errors):
        raise EdgeAscError("\n".join(map(str, errors)))
    if errors:
        raise next((error for error in errors if not isinstance(error, EdgeAscError)), errors[0])


class _Titled:
    """A phase whose titles begin with the name of a target."""

    def __init__(self, phase: Phase, prefix: str) -> None:
        self._phase, self._prefix = phase, prefix

    def update(self, event: Progressed) -> None:
        self._phase.update(event.done, event.total, self._prefix + event.title)


class _TargetRun:
    """A job on a target.

    Attributes:
        target: that does it.
        tasks: of the job.
        folder: of the job, on this machine.
        observation: the target's events.
        seconds: the job took.
        lost: why the target stopped responding; None if it did not.
        error: that ended the job; None if none did.
        ended: with events to report.
    """

    def __init__(
        self, target: Target, models: Sequence[Model], benchmark: Benchmark, folder: Path, shown: _Titled
    ) -> None:
        self.target, self.folder = target, folder
        self.seconds = 0.0
        self.lost: str | None = None
        self.error: Exception | None = None
        self.ended = False
        self._shown = shown
        settings, clips = benchmark.settings, benchmark.clips
        there = [i for i, model in enumerate(models) if target.runs_torch or not model.is_checkpoint]
        files = {i: f"models/{i}/{models[i].path.name}" for i in there}
        self.tasks = tuple(
            Task(i, models[i].name, files[i], models[i].engine, seconds)
            for i in there
            for seconds in models[i].windows(settings.lengths)
        )
        self.observation = Observation(len(self.tasks))
        waves = [models[i].contract for i in there if models[i].contract.input != "features"]
        samples = list(clips.inputs(waves[0])) if waves else []
        self._job = Job(self.tasks, settings, tuple(map(len, clips.features)), tuple(map(len, samples)))
        sources = {file: models[i].path for i, file in files.items()}
        audio = generate_scene("park", 0, AUDIO_SECONDS)
        self._digest = jobs.write(folder, self._job, sources, audio, clips.features, samples)

    async def measure(self) -> None:
        """Have the target do the job."""

        def receive(event: Event) -> None:
            if isinstance(event, Progressed):
                self._shown.update(event)
            self.observation.receive(event)

        begun = time.monotonic()
        try:
            await self.target.run(self.folder, self._job, self._digest, receive)
        except TargetLostError as error:
            self.lost = str(error)
        except MessageError as error:
            self.error = EdgeAscError(f"{self.target.name}: {error}")
            return
        except Exception as error:  # the other targets are measured all the same
            self.error = error
            return
        self.seconds = time.monotonic() - begun
        self.ended = True
        self._shown.update(Progressed("measured", 1, 1))


async def _measure_all(runs: Sequence[_TargetRun]) -> None:
    await asyncio.gather(*(run.measure() for run in runs))


def _make_result(run: _TargetRun, models: Sequence[Model], benchmark: Benchmark, host: HostReference) -> Result:
    settings, clips, observation = benchmark.settings, benchmark.clips, run.observation
    there = {task.model for task in run.tasks}
    failures, logits = dict(host.failures), []
    for i in range(len(models)):
        logits.append(_read_logits(run, i, failures) if i in there else host.logits[i])
    reference = find_reference(models)
    if reference is not None and not logits[reference]:
        reference = None
    whole = None
    if host.whole and reference is not None:
        whole = measure_whole_clips(host.whole, models[reference], logits[reference][None], clips, settings)
    variants = _make_variants(run, models, benchmark, logits, failures)
    name = None if reference is None else models[reference].name
    reasons = [run.lost] if run.lost else []
    reasons += [f"{models[i].name} failed: {reason}" for i, reason in sorted(failures.items())]
    return Result(
        complete=not reasons,
        incomplete="; ".join(reasons) or None,
        made=Made(
            edge_asc=edge_asc.__version__,
            at=observation.at or datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(run.seconds, 1),
            target=run.target.name,
            command=benchmark.command,
        ),
        machine=observation.machine,
        conditions=tuple(observation.conditions),
        settings=MeasuredSettings(**asdict(settings)),
        data=Data(name=clips.name, clips=len(clips.features), sha256=clips.digest, labels=clips.labels),
        reference=name,
        whole_clip=whole,
        variants=add_losses(variants, name, whole),
    )


def _read_logits(run: _TargetRun, model: int, failures: dict[int, str]) -> Logits:
    """Return the logits of a model that a target ran, none if it failed; note why in `failures`."""
    for i, task in enumerate(run.tasks):
        observed = run.observation.tasks.get(i)
        if task.model == model and observed is not None and observed.failed is not None:
            failures[model] = observed.failed
    try:
        logits = run.observation.read_logits(run.folder, run.tasks, model)
    except EdgeAscError as error:
        failures[model] = str(error)
    return {} if model in failures else logits


def _make_variants(
    run: _TargetRun,
    models: Sequence[Model],
    benchmark: Benchmark,
    logits: Sequence[Logits],
    failures: Mapping[int, str],
) -> list[Variant]:
    """Describe each model with what was measured; of one that failed, only the reason counts."""
    reference = find_reference(models)
    reference = reference if reference is not None and logits[reference] else None
    settings, clips, observation = benchmark.settings, benchmark.clips, run.observation
    disturbed = disturbances(observation.conditions)
    variants = []
    for i, model in enumerate(models):
        if i in failures:
            variants.append(msgspec.structs.replace(describe_model(model), failed=failures[i]))
            continue
        tasks = [observation.tasks[k] for k, task in enumerate(run.tasks) if task.model == i and k in observation.tasks]
        accuracy: Accuracy | None = None
        agreement = None
        if clips.labels:
            accuracy = measure_accuracy(models, clips, settings, logits, i)
        else:
            agreement = measure_agreement(models, logits, reference, i)
        variant = make_variant(model, tasks, settings, disturbed)
        variants.append(msgspec.structs.replace(variant, accuracy=accuracy, agreement=agreement))
    return variants
