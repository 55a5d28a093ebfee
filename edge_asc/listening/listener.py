"""A stream of samples, followed: decisions, level and events go to sinks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np

from edge_asc.detection.detector import EventDetector
from edge_asc.detection.event import SoundEvent
from edge_asc.detection.rules import EventRules
from edge_asc.frontend import Array
from edge_asc.listening.sink import Change, Moment, Sink
from edge_asc.streaming import Decision, StreamingClassifier

Clock = Callable[[], datetime]


def now() -> datetime:
    """Return the time of day, with its zone."""
    return datetime.now(UTC).astimezone()


class Listener:
    """Follows one stream.

    Args:
        source: name of the stream.
        classifier: at the start of a stream.
        rules: when a probability is an event.
        sinks: receive what is found, in this order.
        clock: gives the time of day of live audio; None for a recording, whose time nobody knows.
    """

    def __init__(
        self,
        source: str,
        classifier: StreamingClassifier,
        rules: EventRules,
        sinks: Sequence[Sink],
        clock: Clock | None = None,
    ) -> None:
        self.source, self._classifier, self._sinks, self._clock = source, classifier, sinks, clock
        contract = classifier.contract
        self._rate = contract.front_end.sample_rate
        self._size = contract.signature("step").samples
        self._detector = EventDetector(contract.labels, rules, self._size / self._rate)
        self._step = np.empty(0, np.float32)
        self._offset = 0.0

    @property
    def time(self) -> float:
        """Seconds of audio so far, those before a gap included."""
        return self._detector.time

    def start_at(self, moment: datetime) -> None:
        """Say when the first sample of a recording was recorded."""
        self._detector.set_clock(moment, 0.0)

    def push(self, samples: Array) -> None:
        """Take samples, (n,), at the model's rate.

        Raises:
            AudioError, ContractError: as `StreamingClassifier.push`.
        """
        while len(samples):
            part, samples = samples[: self._size - len(self._step)], samples[self._size - len(self._step) :]
            self._step = np.concatenate((self._step, part))
            # Parts end where steps do, so that each makes one decision at most.
            for decision in self._classifier.push(part):
                self._follow(decision)
            if len(self._step) == self._size:
                self._step = np.empty(0, np.float32)

    def interrupt(self, seconds: float) -> None:
        """Take note of a gap in the audio of so many seconds: events end, and the model starts anew."""
        self._send(self._detector.finish())
        self._offset = self._detector.time + seconds
        self._classifier.reset()
        self._step = np.empty(0, np.float32)

    def finish(self) -> None:
        """End the events that still last."""
        self._send(self._detector.finish())

    def _follow(self, decision: Decision) -> None:
        time, wall = self._offset + decision.time, None
        if self._clock is not None:
            wall = self._clock()
            self._detector.set_clock(wall, time)
        level = measure_level(self._step)
        changes = self._detector.update(time, decision.probabilities, level)
        moment = Moment(self.source, decision, level, self._step, wall)
        for sink in self._sinks:
            sink.observe(moment)
        self._send(changes)

    def _send(self, events: Sequence[SoundEvent]) -> None:
        for event in events:
            for sink in self._sinks:
                sink.receive(Change(self.source, event))


def measure_level(samples: Array) -> float:
    """Return the root mean square of samples, (n,), in dB relative to full scale; negative infinity for silence."""
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    return 10.0 * math.log10(power) if power > 0.0 else -math.inf
