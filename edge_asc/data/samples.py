"""The samples of clips, read when they are used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from edge_asc import audio
from edge_asc.data.dataset import Clip, Dataset
from edge_asc.frontend import Array


class Samples(Sequence[Array]):
    """The samples of each clip, (n,) float32, at a sample rate; a clip is read at each access.

    A clip that is a piece of a file starts with the piece: no audio stands before it.
    """

    def __init__(self, dataset: Dataset, clips: Sequence[Clip], sample_rate: int) -> None:
        self._dataset, self._clips, self._rate = dataset, tuple(clips), sample_rate

    def __len__(self) -> int:
        return len(self._clips)

    @overload
    def __getitem__(self, index: int) -> Array: ...
    @overload
    def __getitem__(self, index: slice) -> Samples: ...
    def __getitem__(self, index: int | slice) -> Array | Samples:
        if isinstance(index, slice):
            return Samples(self._dataset, self._clips[index], self._rate)
        clip = self._clips[index]
        samples: Array = audio.read(self._dataset.path(clip), self._rate)
        end = None if clip.end is None else round(clip.end * self._rate)
        return samples[round(clip.start * self._rate) : end]
