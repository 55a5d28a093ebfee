"""Some recordings of a data set: all of them, or the held-out ones of a fold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edge_asc.data.cache import FeatureCache, Features, default_cache
from edge_asc.data.dataset import Clip, Dataset
from edge_asc.data.samples import Samples
from edge_asc.frontend import FrontEnd
from edge_asc.progress import SILENT, Progress


@dataclass(frozen=True)
class Recordings:
    """Some clips of a data set.

    Attributes:
        dataset: the data set, checked.
        clips: all clips, or the held-out ones of a fold.
        fold: the number of that fold; None for all clips.
    """

    dataset: Dataset
    clips: tuple[Clip, ...]
    fold: int | None = None

    @classmethod
    def open(cls, data: Path, fold: int | None = None, progress: Progress = SILENT) -> Self:
        """Open and check a data set; with a `fold`, take its held-out clips only.

        Raises:
            DatasetError: the data set is damaged or incomplete, or there is no such fold.
        """
        dataset = Dataset.open(data)
        dataset.check(progress)
        return cls(dataset, dataset.clips if fold is None else dataset.split(fold, "evaluate"), fold)

    @property
    def targets(self) -> list[int]:
        """The index of each clip's label among the data set's labels."""
        return [self.dataset.labels.index(clip.label) for clip in self.clips]

    def features(self, front_end: FrontEnd, progress: Progress = SILENT) -> Features:
        """Return the raw log-mel of each clip, computed where it is not in the cache.

        Raises:
            DatasetError: a clip cannot be read.
        """
        return FeatureCache(default_cache(), front_end).features(self.dataset, self.clips, progress)

    def samples(self, sample_rate: int) -> Samples:
        """Return the samples of each clip, read when they are used."""
        return Samples(self.dataset, self.clips, sample_rate)
