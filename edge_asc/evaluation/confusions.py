"""Which labels are decided for the clips of each label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from edge_asc.evaluation.logits import decide
from edge_asc.frontend import Array
from edge_asc.jsonobject import JsonValue
from edge_asc.rule import ClipRule


@dataclass(frozen=True)
class Confusion:
    """Clips of one label for which another one was decided.

    Attributes:
        label, decided: the true label and the other one.
        count: number of these clips.
        clips: number of all clips of the label.
    """

    label: str
    decided: str
    count: int
    clips: int


@dataclass(frozen=True)
class Confusions:
    """Numbers of clips by label and by the last decision on each.

    Attributes:
        labels: of the model.
        counts: (label, decided label).
    """

    labels: tuple[str, ...]
    counts: npt.NDArray[np.intp]

    @classmethod
    def of(cls, logits: Sequence[Array], targets: Sequence[int], labels: Sequence[str], decision: ClipRule) -> Self:
        """Count the last decision on each clip; clips without a decision are left out.

        Args:
            logits: (steps, classes) of each clip.
            targets: index into `labels` of each clip.
            labels: of the model.
            decision: the rule that turns logits into decisions.
        """
        counts = np.zeros((len(labels), len(labels)), np.intp)
        for clip, target in zip(logits, targets, strict=True):
            if len(clip):
                counts[target, decide(clip, decision)[-1]] += 1
        return cls(tuple(labels), counts)

    def __add__(self, other: Self) -> Self:
        """Return the counts of both, which are of disjoint clips and the same labels."""
        return type(self)(self.labels, self.counts + other.counts)

    @property
    def clips(self) -> int:
        """The number of clips."""
        return int(self.counts.sum())

    @property
    def right(self) -> int:
        """The number of clips for which their label was decided."""
        return int(np.trace(self.counts))

    def largest(self) -> list[Confusion]:
        """Return all confusions, the one of the largest share of its label first."""
        clips = self.counts.sum(1)
        found = [
            Confusion(self.labels[row], self.labels[column], int(self.counts[row, column]), int(clips[row]))
            for row, column in np.argwhere(self.counts)
            if row != column
        ]
        return sorted(found, key=lambda each: (-each.count / each.clips, -each.count, each.label, each.decided))

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object: the labels, and a row of counts for each true label."""
        return {"labels": list(self.labels), "counts": self.counts.tolist()}
