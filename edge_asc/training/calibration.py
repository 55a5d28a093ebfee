"""Confidence of a classifier on held-out clips: temperature, calibration error, separation of unknown sounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_asc.errors import EdgeAscError
from edge_asc.frontend import Array
from edge_asc.rule import ClipRule

Floats = npt.NDArray[np.float64]

BINS = 15
# Share of known clips that a threshold for unknown sounds may call unknown.
FALSE_ALARM_RATE = 0.05
# Steps of a threshold.
RESOLUTION = 1e4
LOWEST, HIGHEST = 0.1, 10.0
PRECISION = 1e-3


@dataclass(frozen=True)
class Calibration:
    """Calibration on held-out clips, every step of each.

    Attributes:
        temperature: that the logits are divided by before the softmax.
        ece_before, ece_after: expected calibration error in 15 bins of equal width (Guo et al., 2017).
        nll_before, nll_after: mean negative log-likelihood, nats.
    """

    temperature: float
    ece_before: float
    ece_after: float
    nll_before: float
    nll_after: float


def posteriors(logits: Array, decision: ClipRule, temperature: float = 1.0) -> Floats:
    """Probabilities after each step, (steps, classes), of one clip's logits (steps, classes) since a reset.

    "last" is the softmax of the step's logits; "mean" that of the running mean of log-softmax.
    """
    x = _log_softmax(np.asarray(logits, np.float64) / temperature)
    if decision == "mean":
        x = _log_softmax(np.cumsum(x, axis=0) / np.arange(1, len(x) + 1)[:, None])
    return np.exp(x)


def fit_temperature(logits: Sequence[Array], targets: Sequence[int], decision: ClipRule) -> float:
    """The temperature with the least mean negative log-likelihood, by ternary search on its logarithm.

    Args:
        logits: (steps, classes) of each clip.
        targets: label index of each clip.
        decision: the rule that turns logits into probabilities.
    """
    low, high = math.log(LOWEST), math.log(HIGHEST)
    while high - low > PRECISION:
        third = (high - low) / 3.0
        left, right = (_mean_nll(logits, targets, decision, math.exp(low + n * third)) for n in (1, 2))
        low, high = (low, high - third) if left < right else (low + third, high)
    return math.exp(0.5 * (low + high))


def calibrate_folds(folds: Sequence[tuple[Sequence[Array], Sequence[int]]], decision: ClipRule) -> Calibration:
    """The temperature of all folds' held-out logits; each fold is judged with that of the others.

    Args:
        folds: logits, (steps, classes) of each held-out clip, and label index of each, by fold; at least two.
    """
    before: list[tuple[Floats, Floats]] = []
    after: list[tuple[Floats, Floats]] = []
    losses: list[tuple[float, float]] = []
    for number, (logits, targets) in enumerate(folds):
        others = _pool([fold for i, fold in enumerate(folds) if i != number])
        fitted = fit_temperature(*others, decision)
        before.append(_judge(logits, targets, decision, 1.0))
        after.append(_judge(logits, targets, decision, fitted))
        losses.append((_mean_nll(logits, targets, decision, 1.0), _mean_nll(logits, targets, decision, fitted)))
    return Calibration(
        temperature=fit_temperature(*_pool(folds), decision),
        ece_before=expected_calibration_error(*_join(before)),
        ece_after=expected_calibration_error(*_join(after)),
        nll_before=float(np.mean([each for each, _ in losses])),
        nll_after=float(np.mean([each for _, each in losses])),
    )


def expected_calibration_error(confidences: Floats, right: Floats) -> float:
    """The mean gap between confidence and accuracy over bins of equal width, weighed by their counts."""
    bins = np.minimum((confidences * BINS).astype(int), BINS - 1)
    gaps = [abs(confidences[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins)]
    return float(np.sum(gaps))


def choose_threshold(known: npt.ArrayLike, false_alarm_rate: float = FALSE_ALARM_RATE) -> float:
    """Return the least threshold that at most this share of known clips reaches, as a multiple of 1e-4, at most 1.

    Args:
        known: probability of the label for unknown sounds on each known clip, which no stage has seen.
        false_alarm_rate: 0 to 1.

    Raises:
        EdgeAscError: `known` is empty.
    """
    scores = np.sort(np.asarray(known, np.float64))[::-1]
    if not scores.size:
        raise EdgeAscError("a threshold for unknown sounds needs known clips that the model was not trained on")
    allowed = math.floor(false_alarm_rate * scores.size)
    # Just above the highest probability that must stay known.
    return (
        1 / RESOLUTION
        if allowed >= scores.size
        else min(1.0, (math.floor(scores[allowed] * RESOLUTION) + 1) / RESOLUTION)
    )


def auroc(unknown: npt.ArrayLike, known: npt.ArrayLike) -> float:
    """The probability that an unknown sound scores higher than a known one; ties count half."""
    positive, negative = np.asarray(unknown, np.float64), np.asarray(known, np.float64)
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
    return float(below.mean() / (2.0 * len(negative)))


def _log_softmax(x: Floats) -> Floats:
    x = x - x.max(axis=1, keepdims=True)
    result: Floats = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    return result


def _mean_nll(logits: Sequence[Array], targets: Sequence[int], decision: ClipRule, temperature: float) -> float:
    losses = [
        -np.log(np.maximum(posteriors(clip, decision, temperature)[:, target], 1e-12)).mean()
        for clip, target in zip(logits, targets, strict=True)
    ]
    return float(np.mean(losses))


def _judge(
    logits: Sequence[Array], targets: Sequence[int], decision: ClipRule, temperature: float
) -> tuple[Floats, Floats]:
    """Confidence of every step's decision, and 1 where it is right."""
    p = [posteriors(clip, decision, temperature) for clip in logits]
    confidences = np.concatenate([each.max(axis=1) for each in p])
    right = np.concatenate([each.argmax(axis=1) == target for each, target in zip(p, targets, strict=True)])
    return confidences, right.astype(np.float64)


def _join(parts: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    return np.concatenate([each for each, _ in parts]), np.concatenate([each for _, each in parts])


def _pool(folds: Sequence[tuple[Sequence[Array], Sequence[int]]]) -> tuple[list[Array], list[int]]:
    return [clip for logits, _ in folds for clip in logits], [target for _, targets in folds for target in targets]
