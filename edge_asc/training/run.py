"""Training runs: one model, or one for each fold and a last one on all clips."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_asc.contract import Decision
from edge_asc.data.cache import FeatureCache, Features
from edge_asc.data.dataset import Clip, Credits, Dataset, group_split
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.accuracy import Accuracy, evaluate, pool
from edge_asc.frontend import FrontEnd
from edge_asc.models import CRNN, ModelConfig
from edge_asc.training.checkpoint import Checkpoint, is_checkpoint
from edge_asc.training.compute import Compute
from edge_asc.training.leakage import check_leakage, trained_on
from edge_asc.training.listener import Listener
from edge_asc.training.loop import Start, Trainer, normalisation
from edge_asc.training.provenance import describe_training
from edge_asc.training.recipe import Recipe
from edge_asc.training.state import STATE
from edge_asc.training.validation import Validation

__all__ = ["LEVELS", "Listener", "Run", "cross_validate", "evaluate_levels", "fit", "train", "trained_on"]

# Input levels, dB, at which a trained model is evaluated.
LEVELS = (0, -10, -20, -30)
LENGTHS = tuple(range(1, 11))

# Activation ranges: clips, and how many times the work of a trained frame a recorded one is.
FEWEST_RECORDED, MOST_RECORDED = 16, 128
RECORDING_COST = 6


@dataclass(frozen=True)
class Run:
    """What is trained, on what, and where to.

    Attributes:
        dataset: the data set.
        config: the model; its number of classes is the data set's.
        recipe: how it is trained.
        output: folder of the checkpoint; the folds of a cross-validation are in `fold1`, `fold2`, … below it.
        licences: only clips of these licences are trained on; all if empty.
        teachers: checkpoint folders to learn from; where one holds the fold that is trained, that fold is the teacher.
            Without `initial`, the first one's normalisation is taken.
        initial: checkpoint folder to start from, with its normalisation; likewise with its fold where it has one. Where
            it knows other labels, its last layers are left out.
        fold: one fold to train; all clips if None.
        folds_of: a data set that this training prepares for: a fold is trained on the clips that have neither
            recording nor author in common with the held-out ones of that data set's fold.
        decision: what the contract names; of use in the causal form.
    """

    dataset: Dataset
    config: ModelConfig
    recipe: Recipe
    output: Path
    licences: tuple[str, ...] = ()
    teachers: tuple[Path, ...] = ()
    initial: Path | None = None
    fold: int | None = None
    folds_of: Dataset | None = None
    decision: Decision = "mean"
    name: str = ""

    def of_fold(self, fold: int) -> Run:
        """The run of one fold."""
        return replace(self, fold=fold, output=self.output / f"fold{fold}", name=f"{self.name}-fold{fold}")

    def of_same_fold(self, checkpoint: Path) -> Path:
        """The part of a cross-validated checkpoint that has not seen this run's held-out clips, where it has parts."""
        part = checkpoint / f"fold{self.fold}"
        return part if self.fold is not None and is_checkpoint(part) else checkpoint

    def training_clips(self) -> tuple[Clip, ...]:
        """The clips to train on."""
        clips = self.dataset.clips
        if self.fold is not None and self.folds_of:
            clips = self.dataset.unrelated(clips, self.folds_of, self.folds_of.split(self.fold, "evaluate"))
        elif self.fold is not None:
            clips = self.dataset.split(self.fold, "train")
        return self.dataset.licensed(clips, self.licences) if self.licences else clips

    @property
    def trains_output(self) -> bool:
        """Whether a stage trains the model's output; after the trunk alone it is that of a model never trained."""
        return any(stage.trains in ("all", "head") for stage in self.recipe.stages)

    def monitored(self) -> tuple[Clip, ...]:
        """Clips whose accuracy is reported while the model is trained; empty where all are trained on."""
        if self.fold is None or not self.folds_of:
            return self.held_out()
        kept = set(
            self.dataset.unrelated(self.dataset.clips, self.folds_of, self.folds_of.split(self.fold, "evaluate"))
        )
        return tuple(clip for clip in self.dataset.clips if clip not in kept)

    def credited(self, clips: Sequence[Clip]) -> Credits:
        """Links to the recordings that the clips were cut from, by licence and author."""
        return self.dataset.credited(clips)

    def held_out(self) -> tuple[Clip, ...]:
        """The clips to evaluate on: none where all are trained on, or another data set's folds are followed."""
        return () if self.fold is None or self.folds_of else self.dataset.split(self.fold, "evaluate")


Recorder = Callable[[CRNN, FrontEnd, Sequence[Any], dict[str, Any], Callable[[int, int], None]], dict[str, Any]]


def train(
    run: Run,
    cache: FeatureCache,
    listener: Listener,
    *,
    resume: bool,
    record: Recorder,
    compute: Compute | None = None,
) -> Checkpoint:
    """Train one model as `fit` does, and evaluate it on its held-out clips."""
    compute = compute or Compute()
    checkpoint = fit(run, cache, listener, resume=resume, record=record, compute=compute)
    with compute.main_process_first():
        return _evaluated(checkpoint, run, cache, listener) if compute.is_main_process else Checkpoint.load(run.output)


def fit(
    run: Run,
    cache: FeatureCache,
    listener: Listener,
    *,
    resume: bool,
    record: Recorder | None = None,
    compute: Compute | None = None,
) -> Checkpoint:
    """Train one model, or load it where the folder holds it already.

    `record(model, front end, raw features, source, progress)` gives the activation ranges that go into the checkpoint.
    Of several processes that share a training, all return its checkpoint, and the main one alone writes it.

    Raises:
        EdgeAscError: the folder holds another checkpoint or an interrupted training and `resume` is not given.
    """
    compute = compute or Compute()
    if is_checkpoint(run.output):
        if not resume:
            raise EdgeAscError(f"{run.output}: holds a checkpoint already; choose another --output, or add --resume")
        return _finished(run, cache, listener)
    if (run.output / STATE).exists() and not resume:
        raise EdgeAscError(
            f"{run.output}: holds an interrupted training; add --resume to go on, or choose another --output"
        )
    clips = run.training_clips()
    if not clips:
        raise EdgeAscError(f"{run.dataset.root}: no clip is left to train on; ask for other licences, or another fold")
    _warn_of_labels(run, clips, listener)
    initial = Checkpoint.load(run.of_same_fold(run.initial)) if run.initial else None
    clips, checked, selects = _split_off_validation(run, clips)
    with compute.main_process_first():
        features = cache.features(run.dataset, clips, progress=compute.is_main_process)
        checked_features = cache.features(run.dataset, checked, progress=compute.is_main_process)
    if initial or run.teachers:
        front_end = (initial or Checkpoint.load(run.of_same_fold(run.teachers[0]))).front_end
    else:
        front_end = normalisation(features, run.recipe, cache.front_end)
    teachers = [(path, _teacher(path, run, front_end)) for path in run.teachers]
    if run.fold is not None:
        used = [*([(run.initial, initial)] if run.initial and initial else []), *teachers]
        held_out = (run.folds_of or run.dataset).split(run.fold, "evaluate")
        check_leakage([(path, checkpoint.training) for path, checkpoint in used], held_out, run.fold)
    run.output.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(
        run.config,
        run.recipe,
        features,
        [run.dataset.labels.index(clip.label) for clip in clips],
        front_end,
        run.output,
        teachers=[teacher.model for _, teacher in teachers if isinstance(teacher.model, CRNN)],
        start=_start(run, initial, listener) if initial else None,
        validation=Validation(
            checked_features, [run.dataset.labels.index(clip.label) for clip in checked], front_end, selects=selects
        )
        if checked
        else None,
        compute=compute,
    )
    listener.started(run.name, run.recipe.epochs, trainer.count_steps(), len(clips))
    for epoch in trainer.epochs(listener):
        listener.ended(epoch)
    if not compute.is_main_process:
        compute.wait()
        return Checkpoint.load(run.output)
    checkpoint = Checkpoint(
        name=run.name or run.config.backbone,
        model=trainer.result,
        front_end=front_end,
        labels=run.dataset.labels,
        decision=run.decision,
        recipe=run.recipe.to_json(),
        training=describe_training(
            run,
            clips,
            trainer.history,
            initial.training if initial else {},
            [teacher.training for _, teacher in teachers],
            compute,
            features.digest(clip.label for clip in clips),
        ),
    )
    if record and run.trains_output:
        checkpoint = _record(record, checkpoint, run, features, clips, listener)
    checkpoint.save(run.output)
    (run.output / STATE).unlink(missing_ok=True)
    compute.wait()
    return checkpoint


def _warn_of_labels(run: Run, clips: Sequence[Clip], listener: Listener) -> None:
    present = {clip.label for clip in clips}
    if missing := [label for label in run.dataset.labels if label not in present]:
        listener.noted(f"warning: no training clip has the label {', '.join(missing)}; the model cannot learn it")


def _split_off_validation(run: Run, clips: tuple[Clip, ...]) -> tuple[tuple[Clip, ...], tuple[Clip, ...], bool]:
    """Clips to train on, clips to evaluate from time to time, and whether these select the weights."""
    if run.recipe.validation:
        train_clips, checked = group_split(clips, run.recipe.validation, run.recipe.seed)
        return train_clips, checked, True
    return clips, run.monitored(), False


def _start(run: Run, initial: Checkpoint, listener: Listener) -> Start:
    """Where the training starts; the last layers keep the rows of the labels that both know."""
    known = {label: row for row, label in enumerate(initial.labels)}
    rows = tuple(known.get(label) for label in run.dataset.labels)
    if new := [label for label, row in zip(run.dataset.labels, rows, strict=True) if row is None]:
        listener.noted(f"{run.initial} does not know the labels {', '.join(new)}: their outputs start from scratch")
    return Start(initial.model, rows)


def _record(
    record: Recorder, checkpoint: Checkpoint, run: Run, features: Features, clips: Sequence[Clip], listener: Listener
) -> Checkpoint:
    """The checkpoint with the activation ranges of its training clips: evenly spaced ones, no longer than it took."""
    if not isinstance(checkpoint.model, CRNN):
        return checkpoint
    trained = sum(stage.epochs * stage.crops * stage.frames[0] for stage in run.recipe.stages) * len(clips)
    longest = max(map(len, features))
    most = max(FEWEST_RECORDED, min(MOST_RECORDED, trained // (longest * RECORDING_COST)))
    chosen = sorted({round(i * (len(clips) - 1) / max(1, most - 1)) for i in range(min(most, len(clips)))})
    source = {
        "data": run.dataset.name,
        "recorded_on": "the training clips",
        "classes": len({clip.label for clip in clips}),
    }
    listener.noted(f"recording activation ranges on {len(chosen)} clips")
    ranges = record(
        checkpoint.model,
        checkpoint.front_end,
        [features[i] for i in chosen],
        source,
        lambda done, total: listener.advanced("activation ranges", done, total),
    )
    return replace(checkpoint, quantisation=ranges)


def _finished(run: Run, cache: FeatureCache, listener: Listener) -> Checkpoint:
    """The checkpoint that the folder holds already, if it is the one that `run` would give."""
    checkpoint = Checkpoint.load(run.output)
    expected = {
        "model": run.config.to_json(),
        "recipe": json.loads(json.dumps(run.recipe.to_json())),
        "clips": True,
        "teachers": [path.name for path in run.teachers],
        "start": run.initial.name if run.initial else None,
    }
    clips = run.training_clips()
    found = {
        "model": checkpoint.model.config.to_json(),
        "recipe": checkpoint.recipe,
        "clips": checkpoint.training.get("clips") == len(clips)
        and trained_on(checkpoint.training, [clip.filename for clip in clips]) == len(clips)
        and checkpoint.training.get("clips_sha256") in (None, _digest(run, clips, cache)),
        "teachers": checkpoint.training.get("teachers"),
        "start": checkpoint.training.get("started_from"),
    }
    if changed := [name for name, value in expected.items() if found[name] != value]:
        raise EdgeAscError(
            f"{run.output}: holds a checkpoint of another {', '.join(changed)}; choose another --output, "
            "or give the settings that it was trained with"
        )
    listener.noted(f"{run.output}: trained already")
    return checkpoint


def _digest(run: Run, clips: Sequence[Clip], cache: FeatureCache) -> str:
    """Of the clips' audio and labels."""
    return cache.features(run.dataset, clips, progress=False).digest(clip.label for clip in clips)


def _evaluated(checkpoint: Checkpoint, run: Run, cache: FeatureCache, listener: Listener) -> Checkpoint:
    """The checkpoint with what was measured on the held-out clips, saved; as it is where there are none."""
    held_out = run.held_out()
    if checkpoint.evaluation:
        return checkpoint
    if not run.trains_output:
        listener.noted("not evaluated: no stage has trained the head; train it with --from and --stages head")
    elif not isinstance(checkpoint.model, CRNN):
        listener.noted("not evaluated: a CNN with global average pooling does not stream")
    elif held_out:
        listener.noted("evaluating on the held-out clips")
        results = evaluate_levels(checkpoint, run.dataset, held_out, cache)
        protocol = f"fold {run.fold}, {len(held_out)} held-out clips"
        checkpoint = replace(checkpoint, evaluation=evaluation_json(run.dataset, protocol, results))
        checkpoint.save(run.output)
    return checkpoint


def cross_validate(
    run: Run,
    cache: FeatureCache,
    listener: Listener,
    *,
    resume: bool,
    record: Recorder,
    compute: Compute | None = None,
) -> Checkpoint:
    """Train and evaluate a model for each fold, then one on all clips that carries the pooled evaluation.

    Where another data set's folds are followed, there is nothing to evaluate on.
    """
    source = run.folds_of or run.dataset
    folds = source.folds
    if len(folds) < 2:
        raise EdgeAscError(f"{source.root}: {len(folds)} folds in evaluation_setup; cross-validation needs two")
    if run.config.head != "gru":
        raise EdgeAscError("cross-validation needs a model that streams; train a CNN fold by fold with --fold")
    levels: dict[int, list[Accuracy]] = {level: [] for level in LEVELS}
    count = 0
    for fold in folds:
        part = run.of_fold(fold)
        checkpoint = train(part, cache, listener, resume=resume, record=record, compute=compute)
        held_out = part.held_out()
        if not held_out or (compute and not compute.is_main_process):
            continue
        count += len(held_out)
        for level, result in evaluate_levels(checkpoint, run.dataset, held_out, cache).items():
            levels[level].append(result)
    final = train(run, cache, listener, resume=resume, record=record, compute=compute)
    if not count:
        return final
    pooled = {level: replace(pool(results), model=final.name) for level, results in levels.items()}
    protocol = (
        f"{len(folds)} folds pooled, {count} held-out clips: each clip is judged by a model of the same recipe "
        "that was trained without it; the shipped weights are trained on all folds"
    )
    final = replace(final, evaluation=evaluation_json(run.dataset, protocol, pooled))
    final.save(run.output)
    return final


def evaluate_levels(
    checkpoint: Checkpoint, dataset: Dataset, clips: Sequence[Clip], cache: FeatureCache
) -> dict[int, Accuracy]:
    """Accuracy by length at each input level of LEVELS, dB."""
    from edge_asc.runtimes.torch import TorchRuntime

    features = cache.features(dataset, clips)
    longest, rate, hop = max(len(clip) for clip in features), cache.front_end.sample_rate, cache.front_end.hop
    lengths = [seconds for seconds in LENGTHS if seconds * rate // hop <= longest]
    runtime = TorchRuntime(checkpoint)
    targets = [dataset.labels.index(clip.label) for clip in clips]
    return {
        level: evaluate([(checkpoint.name, runtime)], features, targets, dataset.labels, lengths, gain=float(level))[0]
        for level in LEVELS
    }


def evaluation_json(dataset: Dataset, protocol: str, results: dict[int, Accuracy]) -> dict[str, Any]:
    """An evaluation as a checkpoint keeps it."""
    return {
        "data": dataset.name,
        "protocol": protocol,
        "levels_db": {str(level): result.to_json() for level, result in results.items()},
    }


def _teacher(path: Path, run: Run, front_end: FrontEnd) -> Checkpoint:
    checkpoint = Checkpoint.load(run.of_same_fold(path))
    if not isinstance(checkpoint.model, CRNN) or checkpoint.labels != run.dataset.labels:
        raise EdgeAscError(f"{path}: cannot teach; expected a CRNN with the labels {', '.join(run.dataset.labels)}")
    if checkpoint.front_end != front_end:
        raise EdgeAscError(
            f"{path}: cannot teach; its normalisation differs, so it was trained on other clips, levels or seed"
        )
    return checkpoint
