"""Events from the probabilities of a stream, while it goes on or afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from edge_asc.contract import StreamContract
from edge_asc.detection.event import SoundEvent
from edge_asc.detection.rules import QUIETEST, EventRules
from edge_asc.rule import Belief

Vector = npt.NDArray[np.float64]
ROUNDING = 1e-9  # s, of times that are sums of steps


def make_event_belief(contract: StreamContract, rules: EventRules) -> Belief:
    """Return what turns the logits of a stream into the probabilities that events are found in.

    Args:
        contract: of a causal model.
        rules: its rules, or other ones for its labels.
    """
    log_odds = rules.log_odds(contract.labels, contract.unknown)
    return Belief(rules.decision, len(contract.labels), contract.step_seconds, contract.temperature, log_odds)


@dataclass
class _Run:
    """A label whose probability is above its threshold.

    Attributes:
        start: s.
        began: wall-clock time of the start, if it is known.
        peak: highest probability so far.
        total, count: sum and number of probabilities so far.
        reported: whether it has lasted for the shortest time of an event.
    """

    start: float
    began: datetime | None
    peak: float = 0.0
    total: float = 0.0
    count: int = 0
    reported: bool = False


class EventDetector:
    """Events of one stream.

    Attributes:
        time: end of the last step, s from the start of the stream.

    Args:
        labels: of the probabilities.
        rules: when a probability is an event. Its own decision rule gives the probabilities: `make_event_belief`.
        step: seconds of audio of one decision.
    """

    def __init__(self, labels: Sequence[str], rules: EventRules, step: float) -> None:
        self.labels, self.rules, self.step = tuple(labels), rules, step
        self._thresholds = [rules.of(label) for label in labels]
        self._reported = [index for index, label in enumerate(labels) if label not in rules.ignored]
        self._runs: dict[int, _Run] = {}
        self._clock: datetime | None = None
        self.time = 0.0

    def set_clock(self, now: datetime, time: float) -> None:
        """Say which wall-clock time belongs to a time of the stream, s; for events that start from here on."""
        self._clock = now - timedelta(seconds=time)

    def update(self, time: float, probabilities: Vector, level: float = 0.0) -> list[SoundEvent]:
        """Take the probabilities after a step; return the events that were confirmed or have ended in it.

        An event is returned twice: without an end when it has lasted for the shortest time, and with its end.

        Args:
            time: end of the step, s from the start of the stream.
            probabilities: (labels,).
            level: of the step's samples, dBFS; no event starts or lasts in digital silence.
        """
        self.time = time
        changes: list[SoundEvent] = []
        for index in self._reported:
            p = float(probabilities[index]) if level > QUIETEST else 0.0
            changes += self._follow(index, time, p)
        return changes

    def finish(self) -> list[SoundEvent]:
        """Return the events that still last, with the end of the stream as their end."""
        return [event for index in list(self._runs) for event in self._end(index, self.time)]

    def _follow(self, index: int, time: float, p: float) -> list[SoundEvent]:
        threshold, changes = self._thresholds[index], []
        run = self._runs.get(index)
        if run is not None and p < threshold * self.rules.release:
            return self._end(index, time - self.step)
        if run is not None and self.rules.maximum and time - run.start > self.rules.maximum:
            changes = self._end(index, time - self.step)
            run = None
        if run is None:
            if p < threshold:
                return changes
            run = self._runs[index] = self._begin(time - self.step)
        run.peak, run.total, run.count = max(run.peak, p), run.total + p, run.count + 1
        if not run.reported and time - run.start >= self.rules.minimum - ROUNDING:
            run.reported = True
            changes.append(self._event(index, run))
        return changes

    def _begin(self, start: float) -> _Run:
        return _Run(start, None if self._clock is None else self._clock + timedelta(seconds=start))

    def _end(self, index: int, time: float) -> list[SoundEvent]:
        run = self._runs.pop(index)
        return [replace(self._event(index, run), end=time)] if run.reported else []

    def _event(self, index: int, run: _Run) -> SoundEvent:
        return SoundEvent(self.labels[index], run.start, None, run.peak, run.total / run.count, run.began)


def find_runs(probabilities: Vector, threshold: float, rules: EventRules, step: float) -> npt.NDArray[np.intp]:
    """Return the events of one label in a whole stream, as `EventDetector` finds them without a longest duration.

    Args:
        probabilities: of the label after each step, (steps,).
        threshold: from which on it is an event.
        rules: release and minimum.
        step: seconds of one step.

    Returns:
        First step and the step after the last of each event, (events, 2).
    """
    high, low = probabilities >= threshold, probabilities < threshold * rules.release
    steps = np.arange(len(probabilities))
    last_high = np.maximum.accumulate(np.where(high, steps, -1))
    last_low = np.maximum.accumulate(np.where(low, steps, -1))
    active = np.diff((last_high > last_low).astype(np.int8), prepend=0, append=0)
    runs = np.stack([np.flatnonzero(active == 1), np.flatnonzero(active == -1)], axis=1)
    long_enough = (runs[:, 1] - runs[:, 0]) * step >= rules.minimum - ROUNDING
    kept: npt.NDArray[np.intp] = runs[long_enough]
    return kept
