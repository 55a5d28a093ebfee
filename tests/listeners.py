"""A classifier that reads its answer from the samples, and sinks that keep what they are given."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np

from edge_asc.detection.rules import EventRules
from edge_asc.frontend import Array
from edge_asc.listening.listener import Clock, Listener
from edge_asc.listening.sink import Change, Moment, Sink
from edge_asc.rule import DecisionRule
from edge_asc.streaming import Decision, StreamingClassifier

LABELS = ("rain", "church_bells", "other")
RATE, STEP = 16_000, 4000  # 0.25 s
RULES = EventRules(ignored=("other",), decision=DecisionRule("last"))
QUIET = 0.001  # amplitude in which there is no label


def steps(*labels: str) -> Array:
    """Samples of one step for each label, (STEP · n,); "-" is a sound of no label, "" digital silence."""
    levels = {"": 0.0, "-": QUIET} | {label: 0.1 * (i + 1) for i, label in enumerate(LABELS)}
    return np.repeat(np.array([levels[label] for label in labels], np.float32), STEP)


class FakeClassifier:
    """Finds the label of each step by its amplitude."""

    def __init__(self) -> None:
        front_end = SimpleNamespace(sample_rate=RATE)
        self.contract = SimpleNamespace(
            labels=LABELS,
            name="fake",
            front_end=front_end,
            temperature=1.0,
            unknown=None,
            signature=lambda _: SimpleNamespace(samples=STEP),
            step_seconds=STEP / RATE,
        )
        self.reset()

    def reset(self) -> None:
        self._samples = np.empty(0, np.float32)
        self._count = 0

    def push(self, samples: Array) -> list[Decision]:
        self._samples = np.concatenate((self._samples, samples))
        decisions = []
        while len(self._samples) >= STEP:
            step, self._samples = self._samples[:STEP], self._samples[STEP:]
            self._count += 1
            decisions.append(self._decide(step))
        return decisions

    def _decide(self, step: Array) -> Decision:
        index = round(float(step.mean()) / 0.1) - 1
        p = np.full(len(LABELS), 0.05)
        p[index] = 0.9  # the last one, "other", without a label
        best = int(p.argmax())
        time = self._count * STEP / RATE
        return Decision(time, LABELS[best], best, p[best], p, np.log(p), False, LABELS[best], p[best])


class Collector(Sink):
    """Keeps all that it is given."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self.changes: list[Change] = []
        self.notes: list[tuple[str, str]] = []
        self.is_closed = False

    def observe(self, moment: Moment) -> None:
        self.moments.append(moment)

    def receive(self, change: Change) -> None:
        self.changes.append(change)

    def note(self, source: str, text: str) -> None:
        self.notes.append((source, text))

    def close(self) -> None:
        self.is_closed = True

    @property
    def ended(self) -> list[tuple[str, float, float]]:
        return [(c.event.label, c.event.start, c.event.end) for c in self.changes if c.event.end is not None]


def make_listener(*sinks: Sink, clock: Clock | None = None, rules: EventRules = RULES) -> Listener:
    return Listener("microphone", cast(StreamingClassifier, FakeClassifier()), rules, sinks, clock)
