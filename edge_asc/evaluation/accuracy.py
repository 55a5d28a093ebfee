"""Accuracy of streaming models on labelled clips, after each length of audio since a reset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, NamedTuple, Self

import numpy as np

from edge_asc.contract import Decision, StreamContract
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.logits import DECISIONS, Indices, clip_logits, decide, steps_at
from edge_asc.frontend import Array, FrontEnd
from edge_asc.runtime import Runtime

# 1: first version.
SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Decisions, counted by the class of their clip.

    Attributes:
        decision: the rule that `right`, `accuracy` and `recall` are about.
        count_by_class: decisions by label.
        right_by_class: right ones by label, under both rules.
        agreed: decisions that equal the reference's; None without a reference.
    """

    decision: Decision
    count_by_class: Mapping[str, int]
    right_by_class: Mapping[Decision, Mapping[str, int]]
    agreed: int | None = None

    @property
    def count(self) -> int:
        """All decisions."""
        return sum(self.count_by_class.values())

    @property
    def right(self) -> int:
        """The right ones."""
        return self.right_under(self.decision)

    def right_under(self, decision: Decision) -> int:
        """The right ones under a rule."""
        return sum(self.right_by_class[decision].values())

    @property
    def accuracy(self) -> float:
        """Share of right decisions."""
        return self.right / self.count

    @property
    def agreement(self) -> float | None:
        """Share of decisions that equal the reference's; None without a reference."""
        return None if self.agreed is None else self.agreed / self.count

    @property
    def recall(self) -> dict[str, float | None]:
        """Share of right decisions by label; None where no clip has the label."""
        right = self.right_by_class[self.decision]
        return {label: right[label] / count if count else None for label, count in self.count_by_class.items()}

    @property
    def macro_recall(self) -> float:
        """The mean recall of the labels that clips have."""
        known = [share for share in self.recall.values() if share is not None]
        return sum(known) / len(known)

    def __add__(self, other: Self) -> Self:
        """The tally of both."""
        both = self.agreed is not None and other.agreed is not None
        return replace(
            self,
            count_by_class=_sum(self.count_by_class, other.count_by_class),
            right_by_class={d: _sum(self.right_by_class[d], other.right_by_class[d]) for d in DECISIONS},
            agreed=(self.agreed or 0) + (other.agreed or 0) if both else None,
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the counts and what follows from them."""
        return {
            "decision": self.decision,
            "count": self.count,
            "right": self.right,
            **{f"right_{decision}": self.right_under(decision) for decision in DECISIONS},
            "accuracy": self.accuracy,
            "agreement": self.agreement,
            "recall": self.recall,
            "macro_recall": self.macro_recall,
            "count_by_class": dict(self.count_by_class),
            "right_by_class": {decision: dict(self.right_by_class[decision]) for decision in DECISIONS},
        }


@dataclass(frozen=True, kw_only=True)
class LengthResult(Tally):
    """The last decision of every clip that is made within `seconds` of its start.

    `right_clips` says of each clip that is long enough, in their order, whether it was right: for paired comparisons.
    """

    seconds: float
    right_clips: tuple[bool, ...] = ()

    @classmethod
    def of(cls, seconds: float, decided: Indices, targets: Indices, labels: Sequence[str]) -> Self:
        """The result of one decision for each clip, by the last output: indices into `labels`."""
        right = decided == targets
        return cls(
            seconds=seconds,
            decision="last",
            count_by_class=_by_class(targets, labels),
            right_by_class=dict.fromkeys(DECISIONS, _by_class(targets[right], labels)),
            right_clips=tuple(right.tolist()),
        )

    def __add__(self, other: Self) -> Self:
        """The counts of both, of disjoint clips."""
        return replace(super().__add__(other), right_clips=self.right_clips + other.right_clips)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy; clips count as independent, which those of one place are not."""
        return interval(self.right, self.count)

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the counts and what follows from them."""
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

    def __add__(self, other: Self) -> Self:
        """The error over both."""
        return type(self)(self.total + other.total, self.count + other.count, max(self.maximum, other.maximum))


@dataclass(frozen=True)
class Accuracy:
    """What was measured of one model.

    Attributes:
        model: its name.
        engine: what ran it.
        clips: how many clips it heard, however short.
        labels: of the data, in their order.
        decision: the model's rule: "last" or "mean".
        gain: dB, that all clips were heard louder by.
        lengths: by seconds, ascending.
        all_steps: all decisions of all clips; those of one clip are not independent, so there is no interval.
        reference: the name of the model it is compared with, if any.
        logit_error: against the reference; None without one, or if the models have other labels.
        notes: what was left out.
    """

    model: str
    engine: str
    clips: int
    labels: tuple[str, ...]
    decision: Decision
    gain: float
    lengths: tuple[LengthResult, ...]
    all_steps: Tally
    reference: str | None = None
    logit_error: LogitError | None = None
    notes: tuple[str, ...] = ()

    def at(self, seconds: float) -> LengthResult | None:
        """The result at a length; None if no clip was that long."""
        return next((result for result in self.lengths if result.seconds == seconds), None)

    def to_json(self) -> dict[str, Any]:
        """A JSON object with everything that was measured."""
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
            "logit_error": error and {"mean": error.mean, "max": error.maximum, "count": error.count},
            "notes": list(self.notes),
        }


def interval(right: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (1927) of the share `right` / `count`.

    Raises:
        EdgeAscError: not 0 ≤ right ≤ count, or count is 0.
    """
    if not 0 <= right <= count or count < 1:
        raise EdgeAscError(f"{right} right of {count}; expected at least one decision, and no more right ones")
    from scipy.stats import binomtest

    bounds = binomtest(right, count).proportion_ci(confidence, method="wilson")
    return float(bounds.low), float(bounds.high)


def evaluate(
    runtimes: Sequence[tuple[str, Runtime]],
    features: Sequence[Array],
    targets: Sequence[int],
    labels: Sequence[str],
    lengths: Iterable[float],
    reference: int | None = 0,
    gain: float = 0.0,
    progress: bool = False,
) -> list[Accuracy]:
    """Measure models on the same clips.

    Args:
        runtimes: name and engine of each model; their labels are matched with those of the data by name.
        features: raw log-mel of each clip, (frames, mels).
        targets: index into `labels` of each clip.
        labels: of the data.
        lengths: seconds since the start of a clip; at each, the clips that are shorter are left out.
        reference: index of the model that the others are compared with.
        gain: dB, that all clips are heard louder by.
        progress: show a bar for each model on stderr.

    Raises:
        EdgeAscError: no clips, or none that is long enough; a label that a model does not know; models with
            different front ends; or a bad target, length or reference.
    """
    lengths = sorted(set(lengths))
    contracts = [(name, runtime.contract) for name, runtime in runtimes]
    check_comparable(contracts, len(features), targets, labels, lengths, reference)
    windows = [set(runtime.contract.windows) for _, runtime in runtimes if runtime.contract.form == "windowed"]
    if windows and not (common := [seconds for seconds in lengths if seconds in set.intersection(*windows)]):
        if reference is not None and len(runtimes) > 2:
            return _evaluated_apart(runtimes, features, targets, labels, lengths, reference, gain, progress)
        raise EdgeAscError("the models have no window of these lengths in common; ask for one that all offer")
    lengths = common if windows else lengths
    heard = [
        Heard(
            name,
            runtime.engine,
            runtime.contract,
            clip_logits(runtime, features, [int(seconds) for seconds in lengths], gain, progress),
        )
        for name, runtime in runtimes
    ]
    return compare(heard, targets, labels, lengths, reference, gain)


def compare(
    heard: Sequence[Heard],
    targets: Sequence[int],
    labels: Sequence[str],
    lengths: Iterable[float],
    reference: int | None = 0,
    gain: float = 0.0,
) -> list[Accuracy]:
    """Measure models by what they made of the same clips; arguments and errors are those of `evaluate`."""
    truth, lengths = np.asarray(targets, np.intp), sorted(set(lengths))
    contracts = [(each.name, each.contract) for each in heard]
    check_comparable(contracts, len(heard[0].logits) if heard else 0, targets, labels, lengths, reference)
    # One numbering of all labels, in which the numbers of the data's own labels are the targets.
    names = list(dict.fromkeys([*labels, *(label for each in heard for label in each.contract.labels)]))
    runs = [_decided(each, names) for each in heard]
    other = None if reference is None else runs[reference]
    return [_measure(run, None if run is other else other, truth, labels, lengths, gain) for run in runs]


def _evaluated_apart(
    runtimes: Sequence[tuple[str, Runtime]],
    features: Sequence[Array],
    targets: Sequence[int],
    labels: Sequence[str],
    lengths: Sequence[float],
    reference: int,
    gain: float,
    progress: bool,
) -> list[Accuracy]:
    """Windowed models without a length in common, such as ONNX files of one window each: each beside the reference."""
    base, results = runtimes[reference], []
    for i, each in enumerate(runtimes):
        pair = [base] if i == reference else [base, each]
        results.append(evaluate(pair, features, targets, labels, lengths, 0, gain, progress)[-1])
    return results


def pool(results: Sequence[Accuracy]) -> Accuracy:
    """The results of disjoint sets of clips, such as the folds of a data set, as those of all clips.

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
    return replace(
        results[0],
        model=_joined(result.model for result in results),
        engine=_joined(result.engine for result in results),
        clips=sum(result.clips for result in results),
        lengths=tuple(
            reduce(LengthResult.__add__, [found for result in results if (found := result.at(length))])
            for length in seconds
        ),
        all_steps=reduce(Tally.__add__, [result.all_steps for result in results]),
        reference=None if None in references else _joined(filter(None, references)),
        logit_error=None if None in errors else reduce(LogitError.__add__, filter(None, errors)),
        notes=tuple(dict.fromkeys(note for result in results for note in result.notes)),
    )


class Heard(NamedTuple):
    """What a model made of some clips.

    Attributes:
        name, engine, contract: of the model.
        logits: of each clip: (steps, classes) of a causal model; (lengths, classes) of a windowed one, those left out
            that the clip does not reach.
    """

    name: str
    engine: str
    contract: StreamContract
    logits: Sequence[Array]


class _Run(NamedTuple):
    """What a model made of the clips, and what it decided in the common numbering of labels."""

    heard: Heard
    decided: dict[Decision, list[Indices]]


def _decided(heard: Heard, names: list[str]) -> _Run:
    common = np.array([names.index(label) for label in heard.contract.labels], np.intp)
    if heard.contract.form == "windowed":
        last = [common[decide(x, "last")] for x in heard.logits]
        return _Run(heard, dict.fromkeys(DECISIONS, last))
    return _Run(heard, {decision: [common[decide(x, decision)] for x in heard.logits] for decision in DECISIONS})


def _measure(
    run: _Run,
    other: _Run | None,
    truth: Indices,
    labels: Sequence[str],
    lengths: Sequence[float],
    gain: float,
) -> Accuracy:
    decision = run.heard.contract.decision
    steps = np.array([len(logits) for logits in run.heard.logits], np.intp)

    def counts(clips: Indices, picked: slice) -> tuple[dict[str, Any], tuple[bool, ...]]:
        """The counts of some decisions of some clips, and which of them are right."""

        def chosen(run: _Run, decision: Decision) -> Indices:
            return np.concatenate([run.decided[decision][clip][picked] for clip in clips])

        expected = np.concatenate([np.repeat(truth[clip], steps[clip])[picked] for clip in clips])
        right = {rule: expected[chosen(run, rule) == expected] for rule in DECISIONS}
        agreed = other and int((chosen(run, decision) == chosen(other, other.heard.contract.decision)).sum())
        tally = {
            "decision": decision,
            "count_by_class": _by_class(expected, labels),
            "right_by_class": {rule: _by_class(found, labels) for rule, found in right.items()},
            "agreed": agreed,
        }
        return tally, tuple((chosen(run, decision) == expected).tolist())

    results, notes = [], []
    for seconds in lengths:
        step = _rows(run.heard.contract, seconds, lengths)
        if len(clips := np.flatnonzero(steps >= step)):
            tally, each = counts(clips, slice(step - 1, step))
            results.append(LengthResult(seconds=seconds, right_clips=each, **tally))
        else:
            notes.append(f"no clip is {seconds:g} s long")
    if not results:
        raise EdgeAscError(f"no clip is {min(lengths):g} s long; ask for a shorter length")
    return Accuracy(
        model=run.heard.name,
        engine=run.heard.engine,
        clips=len(truth),
        labels=tuple(labels),
        decision=decision,
        gain=gain,
        lengths=tuple(results),
        all_steps=Tally(**counts(np.flatnonzero(steps), slice(None))[0]),
        reference=other and other.heard.name,
        logit_error=other and _logit_error(run.heard, other.heard),
        notes=tuple(notes),
    )


def check_comparable(
    models: Sequence[tuple[str, StreamContract]],
    clips: int,
    targets: Sequence[int],
    labels: Sequence[str],
    lengths: Sequence[float],
    reference: int | None = None,
) -> None:
    """Refuse what `evaluate` and `compare` cannot measure, before hours are spent on it.

    Raises:
        EdgeAscError: as `evaluate` does.
    """
    truth = np.asarray(targets, np.intp)
    if not models or not clips or not lengths:
        raise EdgeAscError(
            f"{len(models)} models, {clips} clips, {len(lengths)} lengths; expected at least one of each"
        )
    if truth.shape != (clips,):
        raise EdgeAscError(f"{clips} clips but targets of shape {truth.shape}; expected one target per clip")
    if truth.min() < 0 or truth.max() >= len(labels):
        raise EdgeAscError(f"targets are {truth.min()}..{truth.max()}; expected 0..{len(labels) - 1}")
    if reference is not None and not 0 <= reference < len(models):
        raise EdgeAscError(f"reference is model {reference}; expected 0..{len(models) - 1}")
    first = models[0][1]
    for name, contract in models:
        if unknown := [labels[i] for i in np.unique(truth) if labels[i] not in contract.labels]:
            raise EdgeAscError(
                f"{name} does not know {', '.join(unknown)}; it was trained on {', '.join(contract.labels)}: "
                "evaluate it on clips of these labels"
            )
        if _features_of(contract) != _features_of(first):
            raise EdgeAscError(
                f"{name} has another front end, form or step than {models[0][0]}; evaluate them one at a time"
            )
        if contract.form == "causal" and _rows(contract, lengths[0], lengths) == 0:
            raise EdgeAscError(f"length is {lengths[0]:g} s; {name} decides nothing that early: ask for a longer one")


def _features_of(contract: StreamContract) -> tuple[FrontEnd, int]:
    """What must be equal for two models to hear the same features, and decide as often."""
    step = contract.signature("step").samples if contract.form == "causal" else 0
    return replace(contract.front_end.raw, clip=0.0), step


def _rows(contract: StreamContract, seconds: float, lengths: Sequence[float]) -> int:
    """How many rows of logits there are after `seconds`: steps of a causal model, windows of a windowed one."""
    if contract.form == "causal":
        return steps_at(seconds, contract.front_end.sample_rate, contract.signature("step").samples)
    return list(lengths).index(seconds) + 1


def _logit_error(run: Heard, other: Heard) -> LogitError | None:
    mine, theirs = run.contract.labels, other.contract.labels
    if set(mine) != set(theirs):
        return None
    order = [mine.index(label) for label in theirs]
    pairs = zip(run.logits, other.logits, strict=True)
    errors = np.abs(np.concatenate([x[:, order].astype(np.float64) - y for x, y in pairs]))
    return LogitError(float(errors.sum()), errors.size, float(errors.max()))


def _by_class(targets: Indices, labels: Sequence[str]) -> dict[str, int]:
    return dict(zip(labels, np.bincount(targets, minlength=len(labels)).tolist(), strict=True))


def _sum(a: Mapping[str, int], b: Mapping[str, int]) -> dict[str, int]:
    return {label: count + b[label] for label, count in a.items()}


def _joined(names: Iterable[str]) -> str:
    return " + ".join(dict.fromkeys(names))
