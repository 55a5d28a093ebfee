"""Decision rules: how the outputs of a stream become one probability for each label."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from edge_asc.errors import ContractError
from edge_asc.jsonobject import JsonObject, JsonValue

Vector = npt.NDArray[np.float64]
RuleName = Literal["last", "mean", "forgetting", "sticky"]
RULE_NAMES: tuple[RuleName, ...] = get_args(RuleName)

# Rules of a clip from a reset: they have no parameter.
ClipRule = Literal["last", "mean"]
CLIP_RULES: tuple[ClipRule, ...] = get_args(ClipRule)

LONGEST = 86_400.0  # s


@dataclass(frozen=True)
class DecisionRule:
    """How the logits of all steps since a reset become probabilities.

    Attributes:
        name: "last": softmax of the last logits. "mean": softmax of the mean log-softmax since the reset, the rule for
            one clip. "forgetting": the same with weights that fall by 1/e in `seconds`. "sticky": a hidden Markov
            filter over the labels. A label stays for `seconds` on average and then gives way to any label alike; each
            step's softmax, to the power of `weight`, is the evidence.
        seconds: time constant of "forgetting", or expected stay of a label of "sticky", s; 0 for the other two rules.
        weight: of one step's evidence in "sticky", above 0 and at most 1: less than 1, since the outputs of successive
            steps are based on overlapping audio. 1 for the other rules.

    "sticky" decides like "last" as its seconds approach 0, and like "mean" as they grow.

    Raises:
        ContractError: on construction, an unknown name, or a parameter that is out of range or not of this rule.
    """

    name: RuleName
    seconds: float = 0.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in RULE_NAMES:
            raise ContractError(f"decision rule is {self.name!r}; expected one of {', '.join(RULE_NAMES)}")
        if self.name in CLIP_RULES:
            if self.seconds or self.weight != 1.0:
                raise ContractError(f"decision rule {self.name} has parameters; expected none: only others have some")
            return
        if not 0.0 < self.seconds <= LONGEST:
            raise ContractError(
                f"decision rule {self.name}: seconds is {self.seconds}; expected more than 0 and at most {LONGEST:g}"
            )
        if not 0.0 < self.weight <= 1.0 or (self.name == "forgetting" and self.weight != 1.0):
            expected = "more than 0 and at most 1" if self.name == "sticky" else "1"
            raise ContractError(f"decision rule {self.name}: weight is {self.weight}; expected {expected}")

    @property
    def forgets(self) -> bool:
        """Whether old audio loses its influence."""
        return self.name != "mean"

    def keep(self, step: float) -> float:
        """Return the share of the past's weight that each step of so many seconds keeps: 0 for "last", 1 for "mean"."""
        # "last" and "mean" are the limits of forgetting.
        limits = {"last": 0.0, "mean": 1.0}
        return limits[self.name] if self.name in limits else math.exp(-step / self.seconds)

    def __str__(self) -> str:
        """Return the rule as `parse_rule` reads it, such as "forgetting:2"."""
        numbers = [] if self.name in CLIP_RULES else [f"{self.seconds:g}"]
        if self.weight != 1.0:
            numbers.append(f"{self.weight:g}")
        return ":".join((self.name, *numbers))

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
            name=value.choice("name", RULE_NAMES),
            seconds=value.number("seconds", 0.0),
            weight=value.number("weight", 1.0),
        )


# The rule of live decisions where a contract names none, as those of version 1.
DEFAULT_LIVE = DecisionRule("forgetting", 2.0)
# The rule of models that are trained now, the best on endless streams of held-out clips (docs/results/endless.md).
BEST_LIVE = DecisionRule("sticky", 1000.0, 0.17)


def parse_rule(text: str) -> DecisionRule:
    """Read a rule: "last", "mean", "forgetting:SECONDS", "sticky:SECONDS" or "sticky:SECONDS:WEIGHT".

    Raises:
        ContractError: another text, or a number out of range.
    """
    name, *numbers = text.split(":")
    try:
        values = [float(number) for number in numbers]
    except ValueError:
        values = [math.nan]
    known = next((each for each in RULE_NAMES if each == name), None)
    if known is None or len(values) > 2 or not all(map(math.isfinite, values)):
        raise ContractError(
            f"decision rule is {text!r}; expected last, mean, forgetting:SECONDS, sticky:SECONDS or "
            "sticky:SECONDS:WEIGHT"
        )
    return DecisionRule(known, *values)


class Belief:
    """The probability of each label in one stream, by one rule, step after step.

    Args:
        rule: the rule.
        classes: number of labels.
        step: time between two outputs of the model, s.
        temperature: divisor of the logits.
        log_odds: added to the logits of each step after their division, (classes,); zeros where it is not given.
    """

    def __init__(
        self,
        rule: DecisionRule,
        classes: int,
        step: float,
        temperature: float = 1.0,
        log_odds: npt.ArrayLike = 0.0,
    ) -> None:
        self.rule = rule
        self._temperature = temperature
        self._shift: Vector = temperature * np.asarray(log_odds, np.float64)
        self._keep = rule.keep(step)
        self._classes = classes
        self.reset()

    def reset(self) -> None:
        """Forget all outputs."""
        self._total: Vector = np.zeros(self._classes)
        self._weight = 0.0
        self._probabilities: Vector = np.full(self._classes, 1.0 / self._classes)

    def update(self, logits: npt.ArrayLike) -> Vector:
        """Take the logits of a step, (classes,); return the probabilities after it, (classes,)."""
        x = np.asarray(logits, np.float64) + self._shift
        if self.rule.name == "sticky":
            expected = self._keep * self._probabilities + (1.0 - self._keep) / self._classes
            self._probabilities = softmax(np.log(expected) + x * (self.rule.weight / self._temperature))
            return self._probabilities
        # Log-softmax subtracts one number from all logits of a step, which the softmax of their mean ignores.
        self._total = self._keep * self._total + x
        self._weight = self._keep * self._weight + 1.0
        return softmax(self._total / self._weight, self._temperature)


def softmax(scores: npt.ArrayLike, temperature: float = 1.0) -> Vector:
    """Return the softmax of scores, (classes,), divided by a temperature."""
    x = np.asarray(scores, np.float64)
    powers = np.exp((x - x.max()) / temperature)
    probabilities: Vector = powers / powers.sum()
    return probabilities
