"""The clips of a training with their features: those of the data set, and those of the label `other`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

from edge_asc.data.cache import FeatureCache, Features
from edge_asc.data.dataset import OTHER, Clip, Credits, Dataset
from edge_asc.errors import EdgeAscError
from edge_asc.frontend import Array
from edge_asc.progress import SILENT, Progress
from edge_asc.training.synthetic import synthesise_clips

SYNTHETIC_EACH = 100


@dataclass(frozen=True)
class OtherSounds:
    """The sounds that a model learns to call `other`.

    Attributes:
        dataset: its clips of labels that the target data set does not have.
        excluded: labels whose clips are kept back; the label `other` is judged by them.
        synthetic: sounds of each synthetic kind: silence, hum, noise, tones, clicks.
    """

    dataset: Dataset
    excluded: tuple[str, ...] = ()
    synthetic: int = SYNTHETIC_EACH

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.excluded) - set(self.dataset.labels)):
            raise EdgeAscError(
                f"{self.dataset.root}: has no label {', '.join(unknown)} to keep back; "
                f"expected some of {', '.join(self.dataset.labels)}"
            )

    def describe(self) -> dict[str, Any]:
        """Its settings, as JSON."""
        return {"data": self.dataset.name, "excluded": list(self.excluded), "synthetic": self.synthetic}

    def foreign(self, target: Dataset) -> tuple[Clip, ...]:
        """The clips of all labels that `target` does not have."""
        clips = tuple(clip for clip in self.dataset.clips if clip.label not in target.labels)
        if not clips:
            raise EdgeAscError(f"{self.dataset.root}: has no label that {target.root} lacks; none is left for other")
        return clips


@dataclass(frozen=True)
class Part:
    """Clips of one data set."""

    dataset: Dataset
    clips: tuple[Clip, ...]


class Joined(Sequence[Array]):
    """Features of several parts, one after another; each clip is read when it is asked for."""

    def __init__(self, parts: Sequence[Sequence[Array]]) -> None:
        self._parts = parts
        self._index = [(part, number) for part in parts for number in range(len(part))]

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, index: int) -> Array: ...
    @overload
    def __getitem__(self, index: slice) -> list[Array]: ...
    def __getitem__(self, index: int | slice) -> Array | list[Array]:
        if isinstance(index, slice):
            return [part[number] for part, number in self._index[index]]
        part, number = self._index[index]
        return part[number]


@dataclass(frozen=True)
class Material:
    """The clips of a training.

    Attributes:
        clips: with the labels of the model: `other` for those of foreign labels.
        features: raw log-mel of each clip, (frames, mels).
        digest: hash of audio and labels.
        recorded: SHA-256 of the file of each clip that has one; synthetic clips, which have none, come last.
    """

    clips: tuple[Clip, ...]
    features: Sequence[Array]
    digest: str
    recorded: tuple[str, ...] = ()

    def targets(self, labels: Sequence[str]) -> list[int]:
        """The number of each clip's label."""
        return [labels.index(clip.label) for clip in self.clips]


def gather(parts: Sequence[Part], synthetic: int, cache: FeatureCache, *, progress: Progress = SILENT) -> Material:
    """Read the features of the first part under its own labels, and of all others as `other`."""
    clips: list[Clip] = []
    features: list[Sequence[Array]] = []
    digests: list[str] = []
    recorded: list[str] = []
    for number, part in enumerate(parts):
        read: Features = cache.features(part.dataset, part.clips, progress=progress)
        labelled = [replace(clip, label=OTHER) if number else clip for clip in part.clips]
        digests.append(read.digest(clip.label for clip in labelled))
        recorded += read.digests
        clips += labelled
        features.append(read)
    if synthetic:
        made, sounds = synthesise_clips(synthetic, OTHER, cache.front_end)
        clips += made
        features.append(sounds)
        digests.append(f"synthetic {synthetic}")
    if len(features) == 1:
        return Material(tuple(clips), features[0], digests[0], tuple(recorded))
    digest = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    return Material(tuple(clips), Joined(features), digest, tuple(recorded))


def credit(parts: Sequence[Part]) -> Credits:
    """Links to the recordings that all clips were cut from, by licence and author."""
    credits: Credits = {}
    for part in parts:
        credits = merge_credits(credits, part.dataset.credited(part.clips))
    return credits


def merge_credits(mine: Credits, theirs: Credits) -> Credits:
    """Authors and links of both, by licence."""
    both: Credits = {}
    for credits in (mine, theirs):
        for licence, authors in credits.items():
            for author, links in authors.items():
                known = both.setdefault(licence, {}).setdefault(author, [])
                known += [link for link in links if link not in known]
    return {
        licence: {author: sorted(both[licence][author]) for author in sorted(both[licence])} for licence in sorted(both)
    }
