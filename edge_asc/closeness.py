"""How close the outputs of a model are to those of a reference: which decisions differ, and how probabilities do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Self

from edge_asc.jsonobject import JsonObject, JsonValue

# Decisions with a larger margin are clear: rounding must not change them.
CLEAR_MARGIN = 0.5


@dataclass(frozen=True, kw_only=True)
class MarginRange:
    """Decisions whose margin is in one range: the difference between the two largest mean log-probabilities.

    Attributes:
        least: start of the range, which ends where the next one starts.
        steps: number of decisions.
        agreed: number of those that equal the reference's.
    """

    least: float
    steps: int
    agreed: int


@dataclass(frozen=True, kw_only=True)
class Closeness:
    """How close the outputs of a model are to those of a reference, over all steps of some streams.

    Attributes:
        agreed: number of decisions, under the model's rule for clips, that equal the reference's.
        last_agreed: number of steps whose largest logit is that of the same label.
        kl: mean Kullback-Leibler divergence of the model's probabilities of a step from the reference's, nats.
        margins: the decisions by the margin of the reference's, in ascending ranges.
    """

    agreed: int
    last_agreed: int
    kl: float
    margins: tuple[MarginRange, ...]

    @property
    def steps(self) -> int:
        """The number of steps compared."""
        return sum(each.steps for each in self.margins)

    @property
    def agreement(self) -> float:
        """The share of equal decisions, 0 to 1."""
        return self.agreed / self.steps

    @property
    def last_agreement(self) -> float:
        """The share of steps with the same largest logit, 0 to 1."""
        return self.last_agreed / self.steps

    @property
    def clear_steps(self) -> int:
        """The number of decisions whose margin exceeds `CLEAR_MARGIN`."""
        return sum(each.steps for each in self._clear)

    @property
    def clear_agreement(self) -> float | None:
        """The share of equal decisions among the clear ones, 0 to 1; None where there is none."""
        return sum(each.agreed for each in self._clear) / self.clear_steps if self.clear_steps else None

    @property
    def _clear(self) -> list[MarginRange]:
        return [each for each in self.margins if each.least >= CLEAR_MARGIN]

    def __add__(self, other: Self) -> Self:
        """Return the closeness over the steps of both."""
        margins = tuple(
            replace(a, steps=a.steps + b.steps, agreed=a.agreed + b.agreed)
            for a, b in zip(self.margins, other.margins, strict=True)
        )
        kl = (self.kl * self.steps + other.kl * other.steps) / (self.steps + other.steps)
        last = self.last_agreed + other.last_agreed
        return replace(self, agreed=self.agreed + other.agreed, last_agreed=last, kl=kl, margins=margins)

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object with the counts and the shares that follow from them; `from_json` reads it."""
        return {
            "steps": self.steps,
            "agreed": self.agreed,
            "agreement": self.agreement,
            "last_agreed": self.last_agreed,
            "last_agreement": self.last_agreement,
            "clear_steps": self.clear_steps,
            "clear_agreement": self.clear_agreement,
            "kl": self.kl,
            "margins": [asdict(each) for each in self.margins],
        }

    @classmethod
    def from_json(cls, value: JsonObject) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: a field is missing or of another type, or there are no steps.
        """
        margins = tuple(
            MarginRange(least=each.number("least"), steps=each.integer("steps"), agreed=each.integer("agreed"))
            for each in value.children_or_empty("margins")
        )
        closeness = cls(
            agreed=value.integer("agreed"),
            last_agreed=value.integer("last_agreed"),
            kl=value.number("kl"),
            margins=margins,
        )
        if closeness.steps < 1:
            raise ValueError(f"margins hold {closeness.steps} steps; expected at least one")
        return closeness
