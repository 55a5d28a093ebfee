"""When a label's probability is an event, and how the probability comes from the outputs of a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Self

import numpy as np

from edge_asc.errors import ContractError
from edge_asc.jsonobject import JsonObject, JsonValue
from edge_asc.rule import DecisionRule, Vector
from edge_asc.unknown import UnknownRule

LONGEST = 86_400.0  # s
MOST_ODDS = 1e6
QUIETEST = -85.0  # dBFS: quieter than any microphone's noise, louder than the rounding of 16 bits
# Names, in lower case, of the class that is none: no sound of interest.
BACKGROUND = frozenset({"other", "background", "background_noise", "noise", "silence", "unknown"})


# Events of a few seconds are found, and a single odd step is not one.
DEFAULT_DECISION = DecisionRule("forgetting", 1.5)


@dataclass(frozen=True)
class EventRules:
    """When a label's probability is an event.

    The probability of events is not that of decisions. A decision should stay with a label while a sound goes on; an
    event should follow a short sound, and not take a foreign sound for one that the model knows.

    An event of a label starts where its probability reaches the label's threshold, and ends where it falls below
    `release` times the threshold. Events of different labels may overlap.

    Attributes:
        threshold: probability from which on a label is an event, where `thresholds` does not name the label; above 0,
            at most 1.
        thresholds: probability by label.
        release: an event ends below this share of its threshold, above 0 and at most 1.
        minimum: shortest event, s; shorter ones are not reported.
        maximum: longest event, s; a longer one ends there and another one starts. 0 for no limit.
        ignored: labels that are never reported.
        decision: how the logits become the probability.
        other_odds: factor on the odds of the model's label for unknown sounds, above 0. More than 1 asks for more
            evidence that a sound is known. A model without such a label ignores it.
        false_alarms_per_day: of all labels together, with these thresholds; None where it was not measured.
        measured_on: the stream that it was measured on, in words.

    Raises:
        ContractError: on construction, a number is out of range.
    """

    threshold: float = 0.5
    thresholds: Mapping[str, float] = field(default_factory=dict)
    release: float = 0.6
    minimum: float = 0.5
    maximum: float = 0.0
    ignored: tuple[str, ...] = ()
    decision: DecisionRule = DEFAULT_DECISION
    other_odds: float = 1.0
    false_alarms_per_day: float | None = None
    measured_on: str = ""

    def __post_init__(self) -> None:
        for name, value in (("threshold", self.threshold), *self.thresholds.items(), ("release", self.release)):
            if not 0.0 < value <= 1.0:
                raise ContractError(f"events: {name} is {value}; expected more than 0 and at most 1")
        for name, value in (("minimum", self.minimum), ("maximum", self.maximum)):
            if not 0.0 <= value <= LONGEST:
                raise ContractError(f"events: {name} is {value} s; expected 0 to {LONGEST:g} s")
        if self.maximum and self.maximum <= self.minimum:
            raise ContractError(
                f"events: maximum is {self.maximum:g} s; expected more than the minimum, {self.minimum:g} s, or 0"
            )
        if not 0.0 < self.other_odds <= MOST_ODDS:
            raise ContractError(
                f"events: other_odds is {self.other_odds}; expected more than 0 and at most {MOST_ODDS:,.0f}"
            )
        rate = self.false_alarms_per_day
        if rate is not None and not 0.0 <= rate <= 1e6:
            raise ContractError(f"events: false_alarms_per_day is {rate}; expected 0 to 1,000,000")

    @property
    def labels(self) -> frozenset[str]:
        """The labels that the rules name."""
        return frozenset(self.thresholds) | frozenset(self.ignored)

    def of(self, label: str) -> float:
        """Return the threshold of a label."""
        return self.thresholds.get(label, self.threshold)

    def log_odds(self, labels: Sequence[str], unknown: UnknownRule | None) -> Vector:
        """Return what is added to the logits of each step, (labels,): ln(`other_odds`) for the label of `unknown`."""
        is_unknown = [unknown is not None and label == unknown.label for label in labels]
        return np.where(is_unknown, np.log(self.other_odds), 0.0)

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object that `from_json` reads."""
        value: dict[str, JsonValue] = asdict(self)
        return value | {
            "thresholds": dict(self.thresholds),
            "ignored": list(self.ignored),
            "decision": self.decision.to_json(),
        }

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: a field is missing, unknown or of another type.
            ContractError: a number is out of range.
        """
        value.check_names(tuple(cls.__dataclass_fields__))
        decision = value.optional_child("decision")
        return cls(
            threshold=value.number("threshold"),
            thresholds=value.child_or_empty("thresholds").number_items(),
            release=value.number("release"),
            minimum=value.number("minimum"),
            maximum=value.number("maximum", 0.0),
            ignored=value.texts("ignored", ()),
            decision=DEFAULT_DECISION if decision is None else DecisionRule.from_json(decision),
            other_odds=value.number("other_odds", 1.0),
            false_alarms_per_day=value.optional_number("false_alarms_per_day"),
            measured_on=value.text("measured_on", ""),
        )


def default_rules(labels: tuple[str, ...], unknown: UnknownRule | None = None) -> EventRules:
    """Return rules for a model without calibrated ones: labels that mean no sound of interest are ignored.

    Args:
        labels: of the model.
        unknown: its rule for sounds of no other label. Where its label has just the threshold's probability, the sound
            is as likely to be unknown as to be known for events.
    """
    ignored = tuple(label for label in labels if label.lower() in BACKGROUND)
    if unknown is None:
        return EventRules(ignored=ignored)
    odds = (1.0 - unknown.threshold) / unknown.threshold
    ignored = tuple(dict.fromkeys((*ignored, unknown.label)))
    return EventRules(ignored=ignored, other_odds=min(max(odds, 1.0), MOST_ODDS))
