"""Which labels are decided for the clips of each label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np

from edge_asc.evaluation.logits import Indices
from edge_asc.jsonobject import JsonValue


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
class ClassCounts:
    """Numbers of clips of one label.

    Attributes:
        label: the label.
        clips: number of clips of the label.
        decided: number of clips for which it was decided.
        right: number of clips of the label for which it was decided.
    """

    label: str
    clips: int
    decided: int
    right: int

    @property
    def recall(self) -> float | None:
        """The share of the label's clips for which it was decided, 0 to 1; None without such clips."""
        return self.right / self.clips if self.clips else None

    @property
    def precision(self) -> float | None:
        """The share of right decisions among those for the label, 0 to 1; None where it was never decided."""
        return self.right / self.decided if self.decided else None


@dataclass(frozen=True)
class Confusions:
    """Numbers of clips by label and by the last decision on each.

    Attributes:
        labels: of the model.
        counts: (label, decided label).
    """

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, decided: Indices, targets: Indices, labels: Sequence[str]) -> Self:
        """Count decisions.

        Args:
            decided: index into `labels` of the last decision on each clip.
            targets: that of the label given to each clip.
            labels: of the model.
        """
        counts = np.zeros((len(labels), len(labels)), np.intp)
        np.add.at(counts, (targets, decided), 1)
        return cls(tuple(labels), tuple(map(tuple, counts.tolist())))

    @property
    def clips(self) -> int:
        """The number of clips."""
        return sum(map(sum, self.counts))

    @property
    def right(self) -> int:
        """The number of clips for which their label was decided."""
        return sum(row[i] for i, row in enumerate(self.counts))

    def occurring(self) -> Self:
        """Return the counts of the labels that a clip has or that were decided."""
        kept = [i for i, row in enumerate(self.counts) if any(row) or any(each[i] for each in self.counts)]
        return type(self)(
            tuple(self.labels[i] for i in kept), tuple(tuple(self.counts[i][k] for k in kept) for i in kept)
        )

    def by_class(self) -> list[ClassCounts]:
        """Return the counts of each label."""
        columns = [sum(column) for column in zip(*self.counts, strict=True)]
        return [
            ClassCounts(label, sum(row), columns[i], row[i])
            for i, (label, row) in enumerate(zip(self.labels, self.counts, strict=True))
        ]

    def largest(self) -> list[Confusion]:
        """Return all confusions, the one of the largest share of its label first."""
        found = [
            Confusion(label, self.labels[k], count, sum(row))
            for i, (label, row) in enumerate(zip(self.labels, self.counts, strict=True))
            for k, count in enumerate(row)
            if count and i != k
        ]
        return sorted(found, key=lambda each: (-each.count / each.clips, -each.count, each.label, each.decided))

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object: the labels, and a row of counts for each true label."""
        value: dict[str, JsonValue] = asdict(self)
        return value
