"""A stream of samples, followed: decisions, level and events go to sinks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from edge_asc.detection.detector import EventDetector, make_event_belief
from edge_asc.detection.event import SoundEvent
from edge_asc.detection.rules import EventRules
from edge_asc.frontend import Array
from edge_asc.listening.sink import Change, Moment, Sink, deliver
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
        sinks: receive what is found, in this order. One that fails does not keep it from the others.
        clock: gives the time of day of live audio; None for a recording, whose time nobody knows.

    Raises:
        OSError: from every method, a sink failed.
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
        self._belief = make_event_belief(contract, rules)
        self._detector = EventDetector(contract.labels, rules, contract.step_seconds)
        self._step = np.empty(0, np.float32)
        self._offset, self._count = 0.0, 0

    @property
    def time(self) -> float:
        """Seconds since the start of the stream, gaps included."""
        return self._offset + self._count / self._rate

    def push(self, samples: Array) -> None:
        """Take samples, (n,), at the model's rate; the last one of live audio was recorded just now.

        Raises:
            AudioError, ContractError: as `StreamingClassifier.push`.
        """
        end = None if self._clock is None else self._clock()
        while len(samples):
            part, samples = samples[: self._size - len(self._step)], samples[self._size - len(self._step) :]
            self._step = np.concatenate((self._step, part))
            self._count += len(part)
            wall = None if end is None else end - timedelta(seconds=len(samples) / self._rate)
            # Parts end where steps do, so that each makes one decision at most.
            for decision in self._classifier.push(part):
                self._follow(decision, wall)
            if len(self._step) == self._size:
                self._step = np.empty(0, np.float32)

    def interrupt(self, seconds: float) -> None:
        """Take note of a gap in the audio of so many seconds: events end, and the model starts anew."""
        events = self._detector.finish()
        self._offset, self._count = self.time + seconds, 0
        self._classifier.reset()
        self._belief.reset()
        self._step = np.empty(0, np.float32)
        self._send(events)

    def note(self, text: str) -> None:
        """Pass a remark on the stream to the sinks."""
        deliver(self._sinks, lambda sink: sink.note(self.source, text))

    def finish(self) -> None:
        """End the events that still last."""
        self._send(self._detector.finish())

    def _follow(self, decision: Decision, wall: datetime | None) -> None:
        time = self._offset + decision.time
        if wall is not None:
            self._detector.set_clock(wall, time)
        level = measure_level(self._step)
        changes = self._detector.update(time, self._belief.update(decision.logits), level)
        moment = Moment(self.source, time, decision, level, self._step, wall)
        self._send(changes)
        deliver(self._sinks, lambda sink: sink.observe(moment))

    def _send(self, events: Sequence[SoundEvent]) -> None:
        changes = [Change(self.source, event) for event in events]

        def send(sink: Sink) -> None:
            for change in changes:
                sink.receive(change)

        deliver(self._sinks, send)


def measure_level(samples: Array) -> float:
    """Return the root mean square of samples, (n,), in dB relative to full scale; negative infinity for silence."""
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    return 10.0 * math.log10(power) if power > 0.0 else -math.inf
