"""The recordings that a command was given: a data set, and the clips of it that are meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edge_asc.data import Dataset, FeatureCache
from edge_asc.data.cache import Features, default_cache
from edge_asc.data.dataset import Clip
from edge_asc.frontend import FrontEnd


@dataclass(frozen=True)
class Recordings:
    """Some clips of a data set.

    Attributes:
        dataset: checked.
        clips: all, or the held-out ones of a fold.
    """

    dataset: Dataset
    clips: tuple[Clip, ...]

    @classmethod
    def open(cls, data: Path, fold: int | None = None) -> Self:
        """Open and check a data set; of a `fold`, only its held-out clips.

        Raises:
            DatasetError: something is wrong with it, or there is no such fold.
        """
        dataset = Dataset.open(data)
        dataset.check(progress=True)
        return cls(dataset, dataset.clips if fold is None else dataset.split(fold, "evaluate"))

    @property
    def targets(self) -> list[int]:
        """The index of each clip's label."""
        return [self.dataset.labels.index(clip.label) for clip in self.clips]

    def features(self, front_end: FrontEnd) -> Features:
        """Raw log-mel of each clip."""
        return FeatureCache(default_cache(), front_end).features(self.dataset, self.clips)
