"""Golden vectors of decision rules and events: a stream of logits, and Python's probabilities and events on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edge_asc.detection.detector import EventDetector
from edge_asc.detection.event import SoundEvent
from edge_asc.detection.rules import QUIETEST, EventRules, default_rules
from edge_asc.frontend import Array
from edge_asc.rule import DEFAULT_LIVE, Belief, DecisionRule, Vector
from edge_asc.unknown import UnknownRule
from edge_asc_bench.golden_files import GoldenFiles

LABELS = ("bells", "other", "rain", "siren", "Silence")
UNKNOWN = UnknownRule("other", 0.04, 0.05)
STEPS = 400
STEP = 0.256  # s
TEMPERATURE = 1.7
# Several parameters of the rules that have some.
RULES = (
    DecisionRule("last"),
    DecisionRule("mean"),
    DEFAULT_LIVE,
    DecisionRule("forgetting", 0.5),
    DecisionRule("sticky", 10.0, 0.3),
    DecisionRule("sticky", 0.7),
)
EVENT_RULES = (
    default_rules(LABELS, UNKNOWN),
    # Events that are cut, with no hysteresis and no shortest duration.
    EventRules(threshold=0.4, release=1.0, minimum=0.0, maximum=3.0, decision=DecisionRule("last")),
    EventRules(
        thresholds={"bells": 0.2, "rain": 0.8},
        release=0.3,
        minimum=1.5,
        maximum=20.0,
        ignored=("siren",),
        decision=DecisionRule("sticky", 10.0, 0.3),
        other_odds=20.0,
    ),
)


@dataclass(frozen=True)
class DetectedEvents:
    """The starts and ends of events that one detector found.

    Attributes:
        rules: of the detector.
        changes: starts and ends of events, in order.
    """

    rules: EventRules
    changes: tuple[SoundEvent, ...]

    def to_json(self) -> dict[str, object]:
        """Return the JSON object that tests read, with unrounded numbers."""
        changes = [
            {"label": event.label, "start": event.start, "end": event.end, "peak": event.peak, "mean": event.mean}
            for event in self.changes
        ]
        return {"rules": self.rules.to_json(), "changes": changes}


@dataclass(frozen=True)
class RuleVectors:
    """One rule's results.

    Attributes:
        rule: the rule.
        probabilities: file, (steps, classes), double precision.
    """

    rule: DecisionRule
    probabilities: str

    def to_json(self) -> dict[str, object]:
        """Return the JSON object that tests read."""
        return {"rule": self.rule.to_json(), "probabilities": self.probabilities}


@dataclass(frozen=True)
class DecisionVectors:
    """The stream, and what rules and detectors make of it.

    Attributes:
        logits: file, (steps, classes), single precision.
        levels: file, dBFS of each step, (steps,), double precision.
        rules: results of each rule.
        events: results of each detector.
    """

    logits: str
    levels: str
    rules: tuple[RuleVectors, ...]
    events: tuple[DetectedEvents, ...]

    def to_json(self) -> dict[str, object]:
        """Return the JSON object that tests read."""
        return {
            "labels": list(LABELS),
            "unknown": UNKNOWN.to_json(),
            "step": STEP,
            "temperature": TEMPERATURE,
            "default_live": DEFAULT_LIVE.to_json(),
            "default_events": default_rules(LABELS, UNKNOWN).to_json(),
            "logits": self.logits,
            "levels": self.levels,
            "rules": [vectors.to_json() for vectors in self.rules],
            "events": [detected.to_json() for detected in self.events],
        }


def write(files: GoldenFiles) -> DecisionVectors:
    """Write the vectors, and return the document that names their files."""
    logits, levels = _generate_stream()
    vectors = []
    for rule in RULES:
        belief = Belief(rule, len(LABELS), STEP, TEMPERATURE)
        probabilities = np.stack([belief.update(row) for row in logits])
        vectors.append(RuleVectors(rule, files.save(f"decisions.{str(rule).replace(':', '-')}.f64", probabilities)))
    return DecisionVectors(
        logits=files.save("decisions.logits.f32", logits),
        levels=files.save("decisions.levels.f64", levels),
        rules=tuple(vectors),
        events=tuple(DetectedEvents(rules, tuple(_detect(rules, logits, levels))) for rules in EVENT_RULES),
    )


def _generate_stream() -> tuple[Array, Vector]:
    """Return logits, (steps, classes), of labels that change, and the level of each step, (steps,), dBFS.

    Some steps are digital silence, others lie at its limit.
    """
    generator = np.random.default_rng(0)
    logits: Array = generator.normal(0.0, 1.5, (STEPS, len(LABELS))).astype(np.float32)
    levels = generator.uniform(-60.0, -20.0, STEPS)
    begin = 0
    while begin < STEPS:
        end = begin + int(generator.integers(1, 40))
        # Sometimes two labels at once, so that events overlap.
        for label in generator.choice(len(LABELS), int(generator.integers(1, 3)), replace=False):
            logits[begin:end, label] += np.float32(generator.uniform(2.0, 6.0))
        begin = end
    levels[100:110] = -np.inf
    levels[250:253] = QUIETEST
    levels[300:303] = np.nextafter(QUIETEST, 0.0)
    return logits, levels


def _detect(rules: EventRules, logits: Array, levels: Vector) -> Iterator[SoundEvent]:
    """Yield starts and ends of events."""
    belief = Belief(rules.decision, len(LABELS), STEP, TEMPERATURE, rules.log_odds(LABELS, UNKNOWN))
    detector = EventDetector(LABELS, rules, STEP)
    for i, (row, level) in enumerate(zip(logits, levels, strict=True), 1):
        yield from detector.update(i * STEP, belief.update(row), float(level))
    yield from detector.finish()
