"""Endless streams mixed from data sets."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from edge_asc.audio import read
from edge_asc.data.dataset import Clip, Dataset
from edge_asc.data.recordings import Recordings
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.soundscape import Mixture, Soundscape
from edge_asc.frontend import Array
from edge_asc.progress import SILENT, Progress

# Decoded files that are kept: 320 KB each at 5 s.
FILES = 512
RATE = 16000


def mix_stream(
    data: Path, fold: int | None, background: Path | None, mixture: Mixture, progress: Progress = SILENT
) -> Soundscape:
    """Return a stream of a data set's clips over those of another one whose labels it does not have.

    Args:
        data: folder of the data set of the sounds.
        fold: use the clips that it holds out alone, and the background that its models have not seen either.
        background: folder of the other data set; None for faint noise.
        mixture: how the stream is mixed.
        progress: one unit for each audio file that is checked.

    Raises:
        DatasetError: a data set is damaged or has no such fold, or a clip cannot be read.
        EdgeAscError: the other data set has no clips of other labels.
    """
    recordings = Recordings.open(data, fold, progress)
    clips: dict[str, tuple[Path, Clip]] = {}
    sounds: dict[str, list[str]] = {}
    for clip in recordings.clips:
        sounds.setdefault(clip.label, []).append(_keep(clips, recordings.dataset, clip))
    behind: list[str] = []
    if background is not None:
        other = Dataset.open(background)
        other.check(progress)
        foreign = [clip for clip in other.clips if clip.label not in recordings.dataset.labels]
        if fold is not None:
            # Those of recordings or authors that the fold holds out.
            seen = set(other.unrelated(foreign, recordings.dataset, recordings.clips))
            foreign = [clip for clip in foreign if clip not in seen]
        if not foreign:
            raise EdgeAscError(f"{background}: has no clips of labels that {data} lacks; expected some as background")
        behind = [_keep(clips, other, clip) for clip in foreign]
    return Soundscape(sounds, behind, lambda name: _read_clip(*clips[name]), mixture, RATE)


def _keep(clips: dict[str, tuple[Path, Clip]], dataset: Dataset, clip: Clip) -> str:
    """Keep a clip under a name, and return the name."""
    name = f"{len(clips)}"
    clips[name] = dataset.path(clip), clip
    return name


def _read_clip(path: Path, clip: Clip) -> Array:
    """Return the samples of a clip, which may be a piece of its file."""
    samples = _read_file(path)
    return samples[round(clip.start * RATE) : None if clip.end is None else round(clip.end * RATE)]


@lru_cache(maxsize=FILES)
def _read_file(path: Path) -> Array:
    return read(path, RATE)
