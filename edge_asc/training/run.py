"""Training runs: one model, or one for each fold and a last one on all clips."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from edge_asc.contract import DecisionRule
from edge_asc.data.cache import FeatureCache
from edge_asc.data.dataset import Clip, Credits, Dataset
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.accuracy import Accuracy, pool
from edge_asc.evaluation.comparison import LabelledClips, evaluate
from edge_asc.frontend import FrontEnd
from edge_asc.models import CRNN, ModelConfig
from edge_asc.training.checkpoint import Checkpoint, is_checkpoint
from edge_asc.training.compute import Compute
from edge_asc.training.loop import STATE, Epoch, Trainer, normalisation
from edge_asc.training.recipe import Recipe

# Input levels, dB, at which a trained model is evaluated.
LEVELS = (0, -10, -20, -30)
LENGTHS = tuple(range(1, 11))


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
    decision: DecisionRule = "mean"
    name: str = ""

    def of_fold(self, fold: int) -> Run:
        """The run of one fold."""
        return replace(self, fold=fold, output=self.output / f"fold{fold}", name=f"{self.name}-fold{fold}")

    def of_same_fold(self, checkpoint: Path) -> Path:
        """The part of a cross-validated checkpoint that has not heard this run's held-out clips, where it has parts."""
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

    def held_out(self) -> tuple[Clip, ...]:
        """The clips to evaluate on: none where all are trained on, or another data set's folds are followed."""
        return () if self.fold is None or self.folds_of else self.dataset.split(self.fold, "evaluate")


class Listener:
    """Hears how a run goes; the command line shows it."""

    def started(self, run: Run, epochs: int, steps: int, clips: int) -> None:
        """A training starts or goes on."""

    def stepped(self, loss: float) -> None:
        """A batch was trained on."""

    def ended(self, epoch: Epoch) -> None:
        """An epoch ended, and the state on disk is whole."""

    def noted(self, text: str) -> None:
        """Something to tell."""


Recorder = Callable[[CRNN, FrontEnd, Sequence[Any], dict[str, Any]], dict[str, Any]]


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
    with compute.leader_first():
        return _evaluated(checkpoint, run, cache, listener) if compute.leads else Checkpoint.load(run.output)


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

    `record(model, front end, raw features, source)` gives the activation ranges that go into the checkpoint. Of several
    processes that share a training, all return its checkpoint, and the leading one alone writes it.

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
    with compute.leader_first():
        features = cache.features(run.dataset, clips)
    initial = Checkpoint.load(run.of_same_fold(run.initial)) if run.initial else None
    if initial and initial.labels != run.dataset.labels:
        listener.noted(f"{run.initial} knows other labels: its last layers start afresh")
    if initial or run.teachers:
        front_end = (initial or Checkpoint.load(run.of_same_fold(run.teachers[0]))).front_end
    else:
        front_end = normalisation(features, run.recipe, cache.front_end)
    teachers = [(path, _teacher(path, run, front_end)) for path in run.teachers]
    _refuse_heard(run, [*([(run.initial, initial)] if run.initial and initial else []), *teachers])
    run.output.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(
        run.config,
        run.recipe,
        features,
        [run.dataset.labels.index(clip.label) for clip in clips],
        front_end,
        run.output,
        teachers=[teacher.model for _, teacher in teachers if isinstance(teacher.model, CRNN)],
        initial=initial.model if initial else None,
        same_labels=initial is not None and initial.labels == run.dataset.labels,
        compute=compute,
    )
    listener.started(run, run.recipe.epochs, trainer.steps_per_epoch, len(clips))
    for epoch in trainer.epochs(lambda _, loss: listener.stepped(loss)):
        listener.ended(epoch)
    if not compute.leads:
        compute.wait()
        return Checkpoint.load(run.output)
    model = trainer.result
    checkpoint = Checkpoint(
        name=run.name or run.config.backbone,
        model=model,
        front_end=front_end,
        labels=run.dataset.labels,
        decision=run.decision,
        recipe=run.recipe.to_json(),
        training=_provenance(
            run,
            clips,
            trainer.history[-1],
            initial.training if initial else {},
            [teacher.training for _, teacher in teachers],
            compute,
            features.digest(clip.label for clip in clips),
        ),
    )
    if record and isinstance(model, CRNN):
        listener.noted("recording activation ranges")
        classes = len({clip.label for clip in clips})
        source = {"data": run.dataset.name, "recorded_on": "the training clips", "classes": classes}
        checkpoint = replace(checkpoint, quantisation=record(model, front_end, features, source))
    checkpoint.save(run.output)
    (run.output / STATE).unlink(missing_ok=True)
    compute.wait()
    return checkpoint


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
    return cache.features(run.dataset, clips).digest(clip.label for clip in clips)


def _evaluated(checkpoint: Checkpoint, run: Run, cache: FeatureCache, listener: Listener) -> Checkpoint:
    """The checkpoint with what was measured on the held-out clips, saved; as it is where there are none."""
    held_out = run.held_out()
    if checkpoint.evaluation:
        return checkpoint
    if not isinstance(checkpoint.model, CRNN):
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
        if not held_out or (compute and not compute.leads):
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
    from edge_asc.engines.pytorch import TorchRuntime

    features = cache.features(dataset, clips)
    longest, rate, hop = max(len(clip) for clip in features), cache.front_end.sample_rate, cache.front_end.hop
    lengths = [seconds for seconds in LENGTHS if seconds * rate // hop <= longest]
    runtime = TorchRuntime(checkpoint)
    targets = [dataset.labels.index(clip.label) for clip in clips]
    labelled = LabelledClips(features, targets, dataset.labels)
    return {level: evaluate([(checkpoint.name, runtime)], labelled, lengths, gain=float(level))[0] for level in LEVELS}


def evaluation_json(dataset: Dataset, protocol: str, results: dict[int, Accuracy]) -> dict[str, Any]:
    """An evaluation as a checkpoint keeps it."""
    return {
        "data": dataset.name,
        "protocol": protocol,
        "levels_db": {str(level): result.to_json() for level, result in results.items()},
    }


def clip_id(filename: str) -> str:
    """A short hash of a clip's name without folder and suffix, by which a checkpoint remembers what it heard."""
    return hashlib.sha256(Path(filename).stem.encode()).hexdigest()[:10]


def trained_on(training: dict[str, Any], filenames: Collection[str]) -> int:
    """How many of the files a checkpoint or its teachers were trained on, as far as their names tell."""
    known = {*training.get("clip_ids", ()), *training.get("taught_clip_ids", ())}
    return sum(clip_id(name) in known for name in filenames)


def _provenance(
    run: Run,
    clips: Sequence[Clip],
    last: Epoch,
    before: dict[str, Any],
    taught: Sequence[dict[str, Any]],
    compute: Compute,
    digest: str,
) -> dict[str, Any]:
    """What the model has heard, itself and in the training `before`; credits include what its teachers heard."""
    heard = {clip_id(clip.filename) for clip in clips} | set(before.get("clip_ids", ()))
    credits = run.dataset.credited(clips)
    for training in (before, *taught):
        credits = merged(credits, training.get("credits", {}))
    return {
        "data": run.dataset.name,
        "fold": run.fold,
        "folds_of": run.folds_of.name if run.folds_of else None,
        "clips": len(clips),
        "clips_sha256": digest,
        "per_class": dict(sorted(Counter(clip.label for clip in clips).items())),
        "licences": list(run.licences),
        "teachers": [path.name for path in run.teachers],
        "started_from": run.initial.name if run.initial else None,
        "before": [{"name": run.initial.name, **_heard(before)}, *before.get("before", ())] if run.initial else [],
        "clip_ids": sorted(heard),
        "taught_clip_ids": sorted({known for training in taught for known in training.get("clip_ids", ())} - heard),
        "credits": credits,
        "computed_with": f"torch {torch.__version__}, {compute}",
        "final_loss": round(last.loss, 4),
        "final_accuracy": round(last.accuracy, 4),
    }


def _heard(training: dict[str, Any]) -> dict[str, Any]:
    return {name: training.get(name) for name in ("data", "clips", "licences")}


def merged(mine: Credits, theirs: Credits) -> Credits:
    """Authors and links of both, by licence."""
    both: Credits = {}
    for credits in (mine, theirs):
        for licence, authors in credits.items():
            for author, links in authors.items():
                known = both.setdefault(licence, {}).setdefault(author, [])
                known += [link for link in links if link not in known]
    return {
        licence: {author: sorted(both[licence][author]) for author in sorted(both[licence])} for licence in sorted(both)
    }


def _refuse_heard(run: Run, used: Sequence[tuple[Path, Checkpoint]]) -> None:
    """Make sure that nothing this run starts or learns from has heard what it will be judged by.

    Raises:
        EdgeAscError: a checkpoint has.
    """
    if run.fold is None:
        return
    held_out = (run.folds_of or run.dataset).split(run.fold, "evaluate")
    for path, checkpoint in used:
        if count := trained_on(checkpoint.training, [clip.filename for clip in held_out]):
            raise EdgeAscError(
                f"{path}: has heard {count} of the {len(held_out)} clips that fold {run.fold} holds out; expected a "
                "checkpoint with a folder for this fold, or one trained without these clips"
            )


def _teacher(path: Path, run: Run, front_end: FrontEnd) -> Checkpoint:
    checkpoint = Checkpoint.load(run.of_same_fold(path))
    if not isinstance(checkpoint.model, CRNN) or checkpoint.labels != run.dataset.labels:
        raise EdgeAscError(f"{path}: cannot teach; expected a CRNN with the labels {', '.join(run.dataset.labels)}")
    if checkpoint.front_end != front_end:
        raise EdgeAscError(
            f"{path}: cannot teach; its normalisation differs, so it was trained on other clips, levels or seed"
        )
    return checkpoint
