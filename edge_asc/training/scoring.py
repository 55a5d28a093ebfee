"""Evaluation of trained checkpoints on held-out clips, as they carry it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_asc.contract import STEP_FRAMES
from edge_asc.data.cache import FeatureCache
from edge_asc.data.dataset import OTHER, Clip, Dataset
from edge_asc.evaluation.accuracy import Accuracy, pool
from edge_asc.evaluation.comparison import LabelledClips, evaluate
from edge_asc.evaluation.document import Evaluation
from edge_asc.evaluation.logits import stream_logits
from edge_asc.evaluation.predictions import Ends, Predictions
from edge_asc.frontend import Array
from edge_asc.training.calibration import (
    FALSE_ALARM_RATE,
    Floats,
    auroc,
    calibrate_folds,
    choose_threshold,
)
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.unknown import UnknownRule

if TYPE_CHECKING:
    from edge_asc.training.run import Run

# Input levels, dB, at which a trained model is evaluated.
LEVELS = (0, -10, -20, -30, -40)
LENGTHS = tuple(range(1, 11))


def evaluate_levels(
    checkpoint: Checkpoint, dataset: Dataset, clips: Sequence[Clip], cache: FeatureCache
) -> dict[int, Accuracy]:
    """Accuracy by length at each input level of LEVELS, dB."""
    from edge_asc.engines.pytorch import TorchRuntime

    features = cache.features(dataset, clips)
    longest, rate, hop = max(len(clip) for clip in features), cache.front_end.sample_rate, cache.front_end.hop
    lengths: list[float] = [seconds for seconds in LENGTHS if seconds * rate // hop <= longest]
    lengths = lengths or [longest // STEP_FRAMES * STEP_FRAMES * hop / rate]
    runtime = TorchRuntime(checkpoint)
    targets = [dataset.labels.index(clip.label) for clip in clips]
    labelled = LabelledClips(features, targets, dataset.labels)
    return {level: evaluate([(checkpoint.name, runtime)], labelled, lengths, gain=float(level))[0] for level in LEVELS}


def fold_evaluation(checkpoint: Checkpoint, run: Run, cache: FeatureCache) -> tuple[Checkpoint, Evaluation]:
    """The checkpoint with its evaluation on the clips that its fold holds out, and the document about them."""
    held_out = run.held_out()
    results = evaluate_levels(checkpoint, run.dataset, held_out, cache)
    evaluation = _to_json(run.dataset, f"fold {run.fold}, {len(held_out)} held-out clips", results)
    predictions = []
    if checkpoint.model.config.form == "causal":
        streamed = _Streamed.of(checkpoint, run, cache)
        predictions = [_predict(checkpoint, [streamed])]
        evaluation["confusions"] = predictions[0].confusions.to_json()
        if streamed.known and streamed.unknown:
            scores = score_unknown(checkpoint, streamed.known, streamed.unknown)
            evaluation["other"] = {"labels": run.judging_labels, **scores}
    checkpoint = replace(checkpoint, evaluation=evaluation)
    return checkpoint, _document(run.dataset, run.fold, results, predictions)


def cross_evaluation(
    final: Checkpoint, folds: Sequence[tuple[Run, Checkpoint]], cache: FeatureCache
) -> tuple[Checkpoint, Evaluation]:
    """The checkpoint of all clips with the pooled evaluation of the folds' checkpoints, and the document about it.

    It also gets the temperature that fits their held-out logits and, if it has the label `other`, the threshold on
    that label's probability that calls 5 % of the held-out known clips unknown.
    """
    dataset = folds[0][0].dataset
    levels: dict[int, list[Accuracy]] = {level: [] for level in LEVELS}
    streamed: list[_Streamed] = []
    for run, checkpoint in folds:
        held_out = run.held_out()
        for level, result in evaluate_levels(checkpoint, dataset, held_out, cache).items():
            levels[level].append(result)
        if checkpoint.model.config.form == "causal":
            streamed.append(_Streamed.of(checkpoint, run, cache))
    count = sum(len(run.held_out()) for run, _ in folds)
    pooled = {level: replace(pool(results), model=final.name) for level, results in levels.items()}
    left_out = folds[0][0].left_out
    protocol = (
        f"{len(folds)} folds pooled, {count} held-out clips: each clip is judged by a model of the same recipe "
        "that was trained without it; the shipped weights are trained on all folds"
        + (f", without the recordings and authors of {left_out.name}" if left_out else "")
    )
    evaluation = _to_json(dataset, protocol, pooled)
    if not streamed:
        return replace(final, evaluation=evaluation), _document(dataset, None, pooled, [])
    calibration = calibrate_folds([(fold.logits, fold.targets) for fold in streamed], final.decision)
    evaluation["calibration"] = {name: round(value, 4) for name, value in asdict(calibration).items()}
    final = replace(final, temperature=calibration.temperature)
    predictions = _predict(final, streamed)
    evaluation["confusions"] = predictions.confusions.to_json()
    final = replace(final, evaluation=evaluation)
    known, unknown = [fold.known for fold in streamed], [fold.unknown for fold in streamed]
    final = add_unknown_rule(final, known, unknown, folds[0][0])
    return final, _document(dataset, None, pooled, [predictions])


def add_unknown_rule(
    final: Checkpoint, known: Sequence[Sequence[Array]], foreign: Sequence[Sequence[Array]], run: Run
) -> Checkpoint:
    """Return the checkpoint with a threshold for unknown sounds; as it is if it has no label `other`.

    Folds without known clips are left out; without two that have some, no threshold can be judged, and none is chosen.
    Its evaluation gets `unknown`: the threshold, the share of known clips that reach the threshold of the other folds,
    and the number of clips. With foreign clips it also gets `other`, as `score_unknown` gives it.

    Args:
        final: with its temperature.
        known: logits, (steps, classes), of the held-out clips of each fold.
        foreign: logits of the unknown clips, by the model of each fold: those of the labels that were kept back, and
            the held-out ones of the data set's own label `other`.
        run: the settings of a fold.
    """
    known = [clips for clips in known if clips]
    if OTHER not in final.labels or len(known) < 2:
        return final
    other = final.labels.index(OTHER)
    scores = [_ends(final, clips)[:, other] for clips in known]
    count, threshold = sum(map(len, scores)), choose_threshold(np.concatenate(scores))
    false_alarms = 0
    for number, part in enumerate(scores):
        others = np.concatenate([each for i, each in enumerate(scores) if i != number])
        false_alarms += int((part >= choose_threshold(others)).sum())
    measured_on = f"{count} held-out clips of {run.dataset.name}, the last decision on each"
    rule = UnknownRule(OTHER, threshold, FALSE_ALARM_RATE, measured_on)
    unknown = {"threshold": threshold, "false_alarm_rate": round(false_alarms / count, 4), "known_clips": count}
    evaluation: dict[str, Any] = {**final.evaluation, "unknown": unknown}
    final = replace(final, unknown=rule)
    pooled = [[clip for part in parts for clip in part] for parts in (known, foreign)]
    if pooled[1]:
        evaluation["other"] = {"labels": run.judging_labels, **score_unknown(final, *pooled)}
    return replace(final, evaluation=evaluation)


def score_unknown(checkpoint: Checkpoint, known: Sequence[Array], unknown: Sequence[Array]) -> dict[str, Any]:
    """How well the probability of `other` at the end of a clip separates unknown sounds from known ones.

    With a threshold in the checkpoint, `unknown_recognised` is the share of unknown sounds that reach it.

    Args:
        checkpoint: with its temperature.
        known, unknown: logits, (steps, classes), of each clip.
    """
    other = checkpoint.labels.index(OTHER)
    ends = [_ends(checkpoint, part) for part in (known, unknown)]
    rule = checkpoint.unknown
    reached = (
        {} if rule is None else {"unknown_recognised": round(float((ends[1][:, other] >= rule.threshold).mean()), 4)}
    )
    return {
        "known_clips": len(known),
        "unknown_clips": len(unknown),
        "auroc": round(auroc(ends[1][:, other], ends[0][:, other]), 4),
        "auroc_max_softmax": round(auroc(-ends[1].max(axis=1), -ends[0].max(axis=1)), 4),
        "unknown_decided_other": round(float((ends[1].argmax(axis=1) == other).mean()), 4),
        "known_decided_other": round(float((ends[0].argmax(axis=1) == other).mean()), 4),
        **reached,
    }


def _ends(checkpoint: Checkpoint, clips: Sequence[Array]) -> Floats:
    """Probabilities at the end of each clip, (clips, classes), under the checkpoint's temperature."""
    return Ends.of(clips, checkpoint.labels, checkpoint.decision, checkpoint.temperature).probabilities


def _predict(checkpoint: Checkpoint, folds: Sequence[_Streamed]) -> Predictions:
    """The decisions on the held-out clips of folds, under the checkpoint's temperature."""
    logits = [clip for fold in folds for clip in fold.logits]
    ends = Ends.of(logits, checkpoint.labels, checkpoint.decision, checkpoint.temperature)
    clips = [clip for fold in folds for clip in fold.clips]
    numbers = [fold.number for fold in folds for _ in fold.clips]
    return Predictions.of(checkpoint.name, ends, clips, numbers, held_out=True)


@dataclass(frozen=True)
class _Streamed:
    """The held-out clips of a fold, streamed through its model.

    Attributes:
        number: of the fold.
        clips: its held-out clips.
        logits, targets: logits, (steps, classes), of each clip, and the index of its label.
        foreign: logits of clips of the labels that were kept back from the label `other`.
        labels: of the model.
    """

    number: int | None
    clips: Sequence[Clip]
    logits: list[Array]
    targets: list[int]
    foreign: list[Array]
    labels: tuple[str, ...]

    @classmethod
    def of(cls, checkpoint: Checkpoint, run: Run, cache: FeatureCache) -> _Streamed:
        clips, labels = run.held_out(), checkpoint.labels
        logits = _stream(checkpoint, run.dataset, clips, cache)
        targets = [labels.index(clip.label) for clip in clips]
        return cls(run.fold, clips, logits, targets, _stream_foreign(checkpoint, run, cache), labels)

    @property
    def known(self) -> list[Array]:
        return [clip for clip, target in zip(self.logits, self.targets, strict=True) if self.labels[target] != OTHER]

    @property
    def unknown(self) -> list[Array]:
        own = [clip for clip, target in zip(self.logits, self.targets, strict=True) if self.labels[target] == OTHER]
        return [*self.foreign, *own]


def _stream_foreign(checkpoint: Checkpoint, run: Run, cache: FeatureCache) -> list[Array]:
    """Logits of the clips of the labels that were kept back; none where no label was."""
    foreign = run.held_out_foreign()
    return _stream(checkpoint, run.other.dataset, foreign, cache) if run.other and foreign else []


def _stream(checkpoint: Checkpoint, dataset: Dataset, clips: Sequence[Clip], cache: FeatureCache) -> list[Array]:
    from edge_asc.engines.pytorch import TorchRuntime

    return stream_logits(TorchRuntime(checkpoint), cache.features(dataset, clips))


def _to_json(dataset: Dataset, protocol: str, results: dict[int, Accuracy]) -> dict[str, Any]:
    """An evaluation as a checkpoint keeps it."""
    return {
        "data": dataset.name,
        "protocol": protocol,
        "levels_db": {str(level): result.to_json() for level, result in results.items()},
    }


def _document(
    dataset: Dataset, fold: int | None, results: dict[int, Accuracy], predictions: Sequence[Predictions]
) -> Evaluation:
    return Evaluation(dataset.name, dataset.root, fold, (results[0],), tuple(predictions))
