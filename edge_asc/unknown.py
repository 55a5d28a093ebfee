"""The rule by which a decision is unknown: the sound is none of the classes that a model knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from edge_asc.errors import ContractError
from edge_asc.jsonobject import JsonObject, JsonValue


@dataclass(frozen=True)
class UnknownRule:
    """A decision is unknown where the probability of one label reaches a threshold.

    Attributes:
        label: the model's label for sounds of no other label, such as "other".
        threshold: least probability of that label, more than 0 and at most 1, under the contract's temperature.
        false_alarm_rate: share of known clips called unknown that the threshold was chosen for, 0 to 1.
        measured_on: the clips that it was chosen on, in words.

    Raises:
        ContractError: on construction, a number is out of range.
    """

    label: str
    threshold: float
    false_alarm_rate: float
    measured_on: str = ""

    def __post_init__(self) -> None:
        if not 0.0 < self.threshold <= 1.0:
            raise ContractError(f"unknown: threshold is {self.threshold}; expected more than 0 and at most 1")
        if not 0.0 <= self.false_alarm_rate <= 1.0:
            raise ContractError(f"unknown: false_alarm_rate is {self.false_alarm_rate}; expected 0 to 1")

    def answer(self, labels: Sequence[str], probabilities: npt.NDArray[np.float64]) -> tuple[int, bool]:
        """Return the index of the label to report, and whether the decision is unknown.

        The label to report is the rule's where the decision is unknown, and the most probable of the others elsewhere.

        Args:
            labels: in the order of the probabilities.
            probabilities: (classes,).
        """
        index = labels.index(self.label)
        if probabilities[index] >= self.threshold:
            return index, True
        known = probabilities.copy()
        known[index] = -1.0
        return int(known.argmax()), False

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object that `from_json` reads."""
        value: dict[str, JsonValue] = asdict(self)
        return value

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: a field is missing, unknown or of another type.
            ContractError: a number is out of range.
        """
        value.check_names(tuple(cls.__dataclass_fields__))
        return cls(
            label=value.text("label"),
            threshold=value.number("threshold"),
            false_alarm_rate=value.number("false_alarm_rate"),
            measured_on=value.text("measured_on", ""),
        )
