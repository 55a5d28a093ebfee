"""Models on an endless stream of known sounds: false alarms a day, detections, seconds to detection, label changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from edge_asc.contract import StreamContract
from edge_asc.detection.detector import find_runs, make_event_belief
from edge_asc.detection.rules import QUIETEST, EventRules
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.soundscape import Interval, Soundscape
from edge_asc.frontend import Array, LogMel
from edge_asc.jsonobject import JsonValue
from edge_asc.listening.listener import measure_level
from edge_asc.progress import SILENT, Progress
from edge_asc.rule import DecisionRule
from edge_asc.runtime import Runtime
from edge_asc.streaming import StreamingClassifier

Probabilities = npt.NDArray[np.float32]

DAY = 86_400.0  # s
TOLERANCE = 3.0  # s after a sound in which its detection may still start: the rule's memory
# Thresholds that a calibration tries: even steps of the logit.
THRESHOLDS = tuple(float(1.0 / (1.0 + np.exp(-x))) for x in np.arange(-3.0, 12.01, 0.1))
FEWEST = 5.0  # false alarms in a stream that a rate can be judged by
# Shifts of the logits of thresholds, from high thresholds to low ones.
SHIFTS = tuple(float(x) for x in np.arange(3.0, -3.01, -0.05))


@dataclass(frozen=True)
class Followed:
    """What a model found in a stream.

    Attributes:
        contract: of the model.
        decision: the rule of its decisions.
        step: seconds of one step.
        probabilities: of events after each step, (steps, labels); zeros in digital silence.
        answers: index of the label reported after each step, (steps,).
        start: number of the first step in the whole stream.
    """

    contract: StreamContract
    decision: DecisionRule
    step: float
    probabilities: Probabilities
    answers: npt.NDArray[np.int16]

    start: int = 0

    @property
    def seconds(self) -> float:
        """Length of the stream, s."""
        return len(self.answers) * self.step

    def split(self) -> tuple[Followed, Followed]:
        """Return both halves."""
        half = len(self.answers) // 2
        p, said = self.probabilities, self.answers
        return (
            replace(self, probabilities=p[:half], answers=said[:half]),
            replace(self, probabilities=p[half:], answers=said[half:], start=self.start + half),
        )

    def select(self, intervals: Iterable[Interval]) -> list[Interval]:
        """Return the sounds that begin in this part, with times from its start."""
        offset = self.start * self.step
        moved = (replace(i, start=i.start - offset, end=i.end - offset) for i in intervals)
        return [i for i in moved if 0.0 <= i.start < self.seconds]


def follow(
    soundscape: Soundscape, models: Sequence[tuple[Runtime, DecisionRule, EventRules]], progress: Progress = SILENT
) -> list[Followed]:
    """Run models over a stream side by side; memory grows by the probabilities alone.

    Args:
        soundscape: the stream.
        models: causal models of one front end, each with the rule of its decisions and its rules for events.
        progress: one unit for each second of audio.

    Raises:
        EdgeAscError: models with different front ends.
    """
    contracts = [runtime.contract for runtime, _, _ in models]
    first = contracts[0]
    raw = first.front_end.raw
    if any(replace(c.front_end.raw, clip=1.0) != replace(raw, clip=1.0) for c in contracts):
        raise EdgeAscError("the models have different front ends; evaluate them one at a time")
    classifiers = [StreamingClassifier(runtime, decision=rule) for runtime, rule, _ in models]
    beliefs = [make_event_belief(runtime.contract, rules) for runtime, _, rules in models]
    inputs = [_choose_input(contract) for contract in contracts]
    rows: list[list[Array]] = [[] for _ in models]
    answers: list[list[int]] = [[] for _ in models]
    size, frames, log_mel = first.signature("step").samples, first.signature("step").frames, LogMel(raw)
    rest, pending = np.empty(0, np.float32), np.empty((0, raw.mels), np.float32)
    with progress.phase("Streaming", soundscape.mixture.seconds) as phase:
        for block in soundscape.blocks():
            rest = np.concatenate((rest, block))
            pending = np.concatenate((pending, log_mel.push(block)))
            steps = len(rest) // size
            loud = [measure_level(rest[i * size : (i + 1) * size]) > QUIETEST for i in range(steps)]
            for classifier, belief, to_input, mine, said in zip(
                classifiers, beliefs, inputs, rows, answers, strict=True
            ):
                x = to_input(pending[: steps * frames], rest[: steps * size])
                for i, chunk in enumerate(np.split(x, steps) if steps else ()):
                    decision = classifier.push_input(chunk)
                    mine.append(belief.update(decision.logits).astype(np.float32) * np.float32(loud[i]))
                    said.append(classifier.labels.index(decision.answer))
            rest, pending = rest[steps * size :], pending[steps * frames :]
            phase.advance(len(block) / raw.sample_rate)
    return [
        Followed(
            runtime.contract,
            rule,
            runtime.contract.step_seconds,
            np.array(mine, np.float32).reshape(-1, len(runtime.contract.labels)),
            np.array(said, np.int16),
        )
        for (runtime, rule, _), mine, said in zip(models, rows, answers, strict=True)
    ]


def _choose_input(contract: StreamContract) -> Callable[[Array, Array], Array]:
    """Return a function that gives a model what it takes, of raw log-mel, (frames, mels), and samples, (n,)."""
    if contract.input != "features":
        return lambda _, samples: samples
    normalise = LogMel(contract.front_end).normalise
    return lambda log_mel, _: normalise(log_mel.copy())


@dataclass(frozen=True)
class LabelScore:
    """The events of one label against the sounds of a stream.

    Attributes:
        sounds: number of sounds of the label.
        detected: number of them that an event overlaps.
        false_alarms: events that overlap no sound of the label.
        delays: seconds from the start of each detected sound until its event was reported.
    """

    sounds: int
    detected: int
    false_alarms: int
    delays: tuple[float, ...] = ()

    def __add__(self, other: LabelScore) -> LabelScore:
        """Return the score of both."""
        return LabelScore(
            self.sounds + other.sounds,
            self.detected + other.detected,
            self.false_alarms + other.false_alarms,
            self.delays + other.delays,
        )

    @property
    def detection_rate(self) -> float | None:
        """The share of sounds that were detected, 0 to 1; None without sounds."""
        return self.detected / self.sounds if self.sounds else None

    @property
    def delay(self) -> float | None:
        """Median seconds to detection; None where nothing was detected."""
        return float(np.median(self.delays)) if self.delays else None

    def to_json(self, seconds: float) -> dict[str, JsonValue]:
        """Return a JSON object for a stream of so many seconds."""
        return {
            "sounds": self.sounds,
            "detected": self.detected,
            "detection_rate": self.detection_rate,
            "false_alarms": self.false_alarms,
            "false_alarms_per_day": self.false_alarms * DAY / seconds,
            "seconds_to_detection": self.delay,
        }


@dataclass(frozen=True)
class StreamScore:
    """How a model does on a stream.

    Attributes:
        seconds: length of the stream.
        labels: score by label, of those that are reported.
        error_rate: share of the steps within sounds whose decision is another label, 0 to 1.
        changes_per_minute: of the decision.
        true_changes_per_minute: of the label of the sounds.
        seconds_to_label: median seconds from the start of a sound to the first decision for its label; None where there
            was none.
    """

    seconds: float
    labels: Mapping[str, LabelScore]
    error_rate: float
    changes_per_minute: float
    true_changes_per_minute: float
    seconds_to_label: float | None

    @property
    def total(self) -> LabelScore:
        """The score of all labels together."""
        return sum(self.labels.values(), LabelScore(0, 0, 0))

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object with all figures."""
        return {
            "seconds": self.seconds,
            "total": self.total.to_json(self.seconds),
            "labels": {label: score.to_json(self.seconds) for label, score in self.labels.items()},
            "error_rate": self.error_rate,
            "changes_per_minute": self.changes_per_minute,
            "true_changes_per_minute": self.true_changes_per_minute,
            "seconds_to_label": self.seconds_to_label,
        }


def score_stream(followed: Followed, intervals: Sequence[Interval], rules: EventRules) -> StreamScore:
    """Compare the decisions and events of a model with the sounds of the stream."""
    labels, intervals = followed.contract.labels, followed.select(intervals)
    scores = {
        label: score_label(followed, label, intervals, rules, rules.of(label))
        for label in labels
        if label not in rules.ignored
    }
    wrong = steps = 0
    waits = []
    for interval in intervals:
        first, last = _steps_within(interval, followed)
        said = followed.answers[first:last]
        right = said == labels.index(interval.label)
        wrong, steps = wrong + int((~right).sum()), steps + len(right)
        if right.any():
            waits.append((first + int(right.argmax()) + 1) * followed.step - interval.start)
    minutes = followed.seconds / 60.0
    return StreamScore(
        seconds=followed.seconds,
        labels=scores,
        error_rate=wrong / steps if steps else 0.0,
        changes_per_minute=int((np.diff(followed.answers) != 0).sum()) / minutes,
        true_changes_per_minute=sum(a.label != b.label for a, b in pairwise(intervals)) / minutes,
        seconds_to_label=float(np.median(waits)) if waits else None,
    )


def score_label(
    followed: Followed, label: str, intervals: Iterable[Interval], rules: EventRules, threshold: float
) -> LabelScore:
    """Compare the events of one label, at a threshold, with its sounds.

    A sound is detected by an event that overlaps it, or that starts within TOLERANCE after it. An event that overlaps
    no sound of its label, with this tolerance, is a false alarm.
    """
    step = followed.step
    runs = find_runs(
        followed.probabilities[:, followed.contract.labels.index(label)].astype(np.float64), threshold, rules, step
    )
    starts, ends = runs[:, 0] * step, runs[:, 1] * step
    explained = np.zeros(len(runs), bool)
    sounds, delays = 0, []
    for interval in intervals:
        if interval.label != label:
            continue
        sounds += 1
        low, high = np.searchsorted(ends, interval.start, "right"), np.searchsorted(starts, interval.end + TOLERANCE)
        if low < high:
            explained[low:high] = True
            reported = max(starts[low], interval.start) + max(step, rules.minimum)
            delays.append(float(reported - interval.start))
    return LabelScore(sounds, len(delays), int((~explained).sum()), tuple(delays))


def calibrate(
    followed: Followed, intervals: Sequence[Interval], rules: EventRules, per_day: float, measured_on: str
) -> EventRules:
    """Return the rules with the lowest threshold, one for all labels, that gives at most so many false alarms a day.

    A threshold for each label would fit the recordings of the stream better, and new ones worse
    (docs/results/endless.md).

    Args:
        followed: what the model found.
        intervals: the sounds of the stream.
        rules: all but the threshold.
        per_day: false alarms of all reported labels together.
        measured_on: the stream, in words.

    Raises:
        EdgeAscError: the stream is too short for such a rate.
    """
    labels = [label for label in followed.contract.labels if label not in rules.ignored]
    intervals = followed.select(intervals)
    budget = per_day * followed.seconds / DAY
    if budget < FEWEST:
        raise EdgeAscError(
            f"{per_day:g} false alarms a day cannot be judged in {followed.seconds / 3600:.1f} h; use a stream of "
            f"{FEWEST / per_day * 24:.0f} h or more, or a higher rate"
        )
    for threshold in THRESHOLDS:
        scores = (score_label(followed, label, intervals, rules, threshold) for label in labels)
        if sum(score.false_alarms for score in scores) <= budget:
            break
    else:
        threshold = 1.0
    return replace(
        rules,
        threshold=round(threshold, 6),
        thresholds={},
        false_alarms_per_day=per_day,
        measured_on=measured_on,
    )


def match_detections(
    followed: Followed, intervals: Sequence[Interval], rules: EventRules, detected: int
) -> LabelScore | None:
    """Return the score of all labels at thresholds that detect at least so many sounds, the highest that do.

    The logits of all thresholds are shifted by one number. With the detections of another model, both models can be
    compared by their false alarms. None where even low thresholds detect fewer.

    Args:
        followed: what the model found.
        intervals: the sounds of the stream.
        rules: when a probability is an event.
        detected: number of sounds.
    """
    intervals = followed.select(intervals)
    labels = [label for label in followed.contract.labels if label not in rules.ignored]
    for offset in SHIFTS:
        scores = [score_label(followed, label, intervals, rules, _shift(rules.of(label), offset)) for label in labels]
        total = sum(scores, LabelScore(0, 0, 0))
        if total.detected >= detected:
            return total
    return None


def _shift(threshold: float, offset: float) -> float:
    """Return a threshold whose logit is shifted; one of 1 stays."""
    if threshold >= 1.0:
        return threshold
    return float(1.0 / (1.0 + np.exp(-(np.log(threshold / (1.0 - threshold)) + offset))))


def _steps_within(interval: Interval, followed: Followed) -> tuple[int, int]:
    """Return the first step that ends within an interval, and the step after the last."""
    first = int(np.ceil(interval.start / followed.step))
    return first, min(int(interval.end / followed.step), len(followed.answers))
