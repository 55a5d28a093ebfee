"""Accuracy of a streaming model on labelled clips, after each length of audio since a reset."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from statistics import NormalDist
from typing import Self

import numpy as np

from edge_asc.closeness import Closeness
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.logits import Indices
from edge_asc.evaluation.predictions import Ends
from edge_asc.jsonobject import JsonValue
from edge_asc.rule import CLIP_RULES, ClipRule

# 1: first version.
SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Numbers of decisions by the label of their clip.

    Attributes:
        decision: the rule that `right`, `accuracy` and `recall` refer to.
        count_by_class: number of decisions by label.
        right_by_class: number of right decisions by label, under both rules.
        agreed: number of decisions that equal the reference's; None without a reference.
    """

    decision: ClipRule
    count_by_class: Mapping[str, int]
    right_by_class: Mapping[ClipRule, Mapping[str, int]]
    agreed: int | None = None

    @property
    def count(self) -> int:
        """The number of decisions."""
        return sum(self.count_by_class.values())

    @property
    def right(self) -> int:
        """The number of right decisions."""
        return self.right_under(self.decision)

    def right_under(self, decision: ClipRule) -> int:
        """Return the number of right decisions under a rule."""
        return sum(self.right_by_class[decision].values())

    @property
    def accuracy(self) -> float:
        """The share of right decisions, 0 to 1."""
        return self.right / self.count

    @property
    def agreement(self) -> float | None:
        """The share of decisions that equal the reference's, 0 to 1; None without a reference."""
        return None if self.agreed is None else self.agreed / self.count

    @property
    def recall(self) -> dict[str, float | None]:
        """The share of right decisions by label; None where no clip has the label."""
        right = self.right_by_class[self.decision]
        return {label: right[label] / count if count else None for label, count in self.count_by_class.items()}

    @property
    def macro_recall(self) -> float:
        """The mean recall over the labels that occur."""
        known = [share for share in self.recall.values() if share is not None]
        return sum(known) / len(known)

    def __add__(self, other: Self) -> Self:
        """Return the tally of both."""
        both = self.agreed is not None and other.agreed is not None
        return replace(
            self,
            count_by_class=_sum(self.count_by_class, other.count_by_class),
            right_by_class={d: _sum(self.right_by_class[d], other.right_by_class[d]) for d in CLIP_RULES},
            agreed=(self.agreed or 0) + (other.agreed or 0) if both else None,
        )

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object with the counts and the ratios that follow from them."""
        return {
            "decision": self.decision,
            "count": self.count,
            "right": self.right,
            **{f"right_{decision}": self.right_under(decision) for decision in CLIP_RULES},
            "accuracy": self.accuracy,
            "agreement": self.agreement,
            "recall": self.recall,
            "macro_recall": self.macro_recall,
            "count_by_class": dict(self.count_by_class),
            "right_by_class": {decision: dict(self.right_by_class[decision]) for decision in CLIP_RULES},
        }


@dataclass(frozen=True, kw_only=True)
class LengthResult(Tally):
    """The last decision within `seconds` of the start of every clip that is long enough.

    Attributes:
        right_clips: whether each of these decisions was right, in the order of the clips: for paired comparisons.
    """

    seconds: float
    right_clips: tuple[bool, ...] = ()

    @classmethod
    def of(cls, seconds: float, decided: Indices, targets: Indices, labels: Sequence[str]) -> Self:
        """Count one decision for each clip, made by the last output: indices into `labels`."""
        right = decided == targets
        return cls(
            seconds=seconds,
            decision="last",
            count_by_class=count_by_class(targets, labels),
            right_by_class=dict.fromkeys(CLIP_RULES, count_by_class(targets[right], labels)),
            right_clips=tuple(right.tolist()),
        )

    def __add__(self, other: Self) -> Self:
        """Return the counts of both, which are of disjoint clips."""
        return replace(super().__add__(other), right_clips=self.right_clips + other.right_clips)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy; it treats clips as independent, which clips of one place are not."""
        return wilson_interval(self.right, self.count)

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object with the counts and the ratios that follow from them."""
        low, high = self.interval
        clips = "".join("1" if right else "0" for right in self.right_clips)
        return {"seconds": self.seconds, **super().to_json(), "low": low, "high": high, "right_clips": clips}


@dataclass(frozen=True)
class LogitError:
    """Absolute differences from the reference's logits: their sum, number and maximum."""

    total: float
    count: int
    maximum: float

    @property
    def mean(self) -> float:
        """The mean absolute difference."""
        return self.total / self.count

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object with the mean, the maximum and the number of differences."""
        return {"mean": self.mean, "max": self.maximum, "count": self.count}

    def __add__(self, other: Self) -> Self:
        """Return the error over both."""
        return type(self)(self.total + other.total, self.count + other.count, max(self.maximum, other.maximum))


@dataclass(frozen=True)
class Accuracy:
    """The accuracy of one model.

    Attributes:
        model: name of the model.
        engine: name and version of the engine that ran it.
        clips: number of clips that it was evaluated on, however short.
        labels: labels of the data, in their order.
        decision: the model's rule: "last" or "mean".
        gain: input gain, dB.
        lengths: results by length, ascending.
        all_steps: all decisions of all clips; those of one clip are not independent, so there is no interval.
        reference: name of the model that it is compared with, if any.
        logit_error: difference from the reference; None without one, or if the models have other labels.
        closeness: to the reference, over all steps; None where `logit_error` is.
        notes: remarks on lengths or clips that were left out.
        ends: the probabilities of the last decision on each clip; None where they are not known.
    """

    model: str
    engine: str
    clips: int
    labels: tuple[str, ...]
    decision: ClipRule
    gain: float
    lengths: tuple[LengthResult, ...]
    all_steps: Tally
    reference: str | None = None
    logit_error: LogitError | None = None
    closeness: Closeness | None = None
    notes: tuple[str, ...] = ()
    ends: Ends | None = field(default=None, repr=False, compare=False)

    def at(self, seconds: float) -> LengthResult | None:
        """Return the result at a length; None if no clip was that long."""
        return next((result for result in self.lengths if result.seconds == seconds), None)

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object with all results; `Predictions` has those of single clips."""
        error = self.logit_error
        return {
            "schema_version": SCHEMA_VERSION,
            "model": self.model,
            "engine": self.engine,
            "clips": self.clips,
            "labels": list(self.labels),
            "decision": self.decision,
            "gain": self.gain,
            "lengths": [result.to_json() for result in self.lengths],
            "all_steps": self.all_steps.to_json(),
            "reference": self.reference,
            "logit_error": None if error is None else error.to_json(),
            "closeness": None if self.closeness is None else self.closeness.to_json(),
            "notes": list(self.notes),
        }


def wilson_interval(right: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval (1927) of the share `right` / `count`.

    Raises:
        EdgeAscError: not 0 ≤ right ≤ count, or count is 0.
    """
    if not 0 <= right <= count or count < 1:
        raise EdgeAscError(f"got {right} right of {count}; expected at least one decision, and no more right than all")
    z = NormalDist().inv_cdf(0.5 + 0.5 * confidence)
    share, square = right / count, z * z / count
    centre = (share + 0.5 * square) / (1.0 + square)
    width = math.sqrt(square * (share * (1.0 - share) + 0.25 * square)) / (1.0 + square)
    return (0.0 if right == 0 else centre - width), (1.0 if right == count else centre + width)


def count_by_class(targets: Indices, labels: Sequence[str]) -> dict[str, int]:
    """Return how often each label occurs among `targets`, indices into `labels`."""
    return dict(zip(labels, np.bincount(targets, minlength=len(labels)).tolist(), strict=True))


def pool(results: Sequence[Accuracy]) -> Accuracy:
    """Combine the results of disjoint sets of clips, such as the folds of a data set.

    Raises:
        EdgeAscError: nothing to pool, or results that differ in labels, decision or gain.
    """
    if not results:
        raise EdgeAscError("no results to pool; expected at least one")
    for name in ("labels", "decision", "gain"):
        values = {getattr(result, name) for result in results}
        if len(values) > 1:
            raise EdgeAscError(f"results to pool differ in {name}: {values}; expected results of one evaluation")
    seconds = sorted({length.seconds for result in results for length in result.lengths})
    references = [result.reference for result in results]
    errors = [result.logit_error for result in results]
    closeness = [result.closeness for result in results]
    return replace(
        results[0],
        model=_join(result.model for result in results),
        engine=_join(result.engine for result in results),
        clips=sum(result.clips for result in results),
        lengths=tuple(
            reduce(LengthResult.__add__, [part for result in results if (part := result.at(length))])
            for length in seconds
        ),
        all_steps=reduce(Tally.__add__, [result.all_steps for result in results]),
        reference=None if None in references else _join(filter(None, references)),
        logit_error=None if None in errors else reduce(LogitError.__add__, filter(None, errors)),
        closeness=None if None in closeness else reduce(Closeness.__add__, filter(None, closeness)),
        notes=tuple(dict.fromkeys(note for result in results for note in result.notes)),
        ends=None,
    )


def _sum(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    return {label: count + b[label] for label, count in a.items()}


def _join(names: Iterable[str]) -> str:
    return " + ".join(dict.fromkeys(names))
