"""Data sets: labelled clips, folds and credits, read by whichever layout a folder has."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal

from edge_asc import audio
from edge_asc.errors import AudioError, DatasetError, list_problems
from edge_asc.progress import SILENT, Progress
from edge_asc.registry import Registry

Part = Literal["train", "evaluate"]
Credits = dict[str, dict[str, list[str]]]
# The label for sounds of no other label.
OTHER = "other"


@dataclass(frozen=True)
class Clip:
    """One recording, or one piece of a recording.

    Attributes:
        filename: path of the audio file relative to the root of the data set.
        label: the scene; "" where it is missing.
        group: the place or the recording that the clip is cut from; a group never lies on both sides of a split.
        device: the recording device; "" where it is not known.
        start, end: the piece of the file, s; end is None where it is that of the file.
    """

    filename: str
    label: str
    group: str
    device: str = ""
    start: float = 0.0
    end: float | None = None


@dataclass(frozen=True)
class Credit:
    """Author and licence of a clip; a field is "" where it is not known."""

    licence: str
    author: str
    url: str = ""


@dataclass(frozen=True)
class Fold:
    """A split of a data set.

    Attributes:
        train, evaluate: clips of each part, in the order of the data set's lists.
        error: why the fold cannot be used; "" where it can.
    """

    train: tuple[Clip, ...]
    evaluate: tuple[Clip, ...]
    error: str = ""


@dataclass(frozen=True)
class Dataset:
    """Labelled clips, as the lists of a data set name them; `check` looks at the audio itself.

    Attributes:
        name: name of the data set, as reports print it.
        root: folder that the clips' file names are relative to.
        labels: the scenes in the order of a model's outputs.
        clips: all clips.
        folds: splits by number, ascending; empty where there are none.
        credits: author and licence by file name; empty where they are not known.
        problems: contradictions in the lists, one sentence each, which `check` reports.
        notes: what the layout has left out, one sentence each.
        columns: further columns of the lists, by name: the value of each file by its name.
        layout: name of the layout that it was read in; "" where it was made otherwise.
    """

    name: str
    root: Path
    labels: tuple[str, ...]
    clips: tuple[Clip, ...] = field(repr=False)
    folds: Mapping[int, Fold] = field(default_factory=dict, repr=False)
    credits: Mapping[str, Credit] = field(default_factory=dict, repr=False)
    problems: tuple[str, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = field(default=(), repr=False)
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    layout: str = ""

    @staticmethod
    def open(root: str | Path) -> Dataset:
        """Read the data set in a folder, in the first of the registered layouts that fits, by their precedence.

        Raises:
            DatasetError: no layout fits the folder, or the data set is damaged.
        """
        root = Path(root)
        layouts = list_layouts()
        for layout in layouts:
            if (dataset := layout.read(root)) is not None:
                return replace(dataset, layout=layout.name)
        if not root.is_dir():
            raise DatasetError(f"{root}: no such folder; expected the folder of a data set: check the path")
        expected = "\n".join(f"  {layout.title}: {layout.expects}" for layout in layouts)
        raise DatasetError(f"{root}: not a data set in a known layout; expected one of:\n{expected}")

    def split(self, fold: int, part: Part) -> tuple[Clip, ...]:
        """Return the clips of one part of a fold.

        Raises:
            DatasetError: there is no such fold, or it is damaged.
        """
        if fold not in self.folds:
            known = ", ".join(map(str, self.folds)) or "none"
            raise DatasetError(f"{self.root}: no fold {fold}; this data set has: {known}")
        chosen = self.folds[fold]
        if chosen.error:
            raise DatasetError(chosen.error)
        return chosen.train if part == "train" else chosen.evaluate

    def path(self, clip: Clip) -> Path:
        """Return the audio file of a clip; see `find_file`."""
        return find_file(self.root, clip.filename)

    def check(self, progress: Progress = SILENT) -> None:
        """Check clips and folds, and open the header of every audio file.

        Args:
            progress: one unit for each audio file.

        Raises:
            DatasetError: one error that lists everything that is wrong, shortened where it is long.
        """
        problems = [
            *self._clip_problems(),
            *self.problems,
            *self.find_split_groups(),
            *self._audio_problems(progress),
        ]
        if problems:
            raise DatasetError(
                list_problems(f"{self.root}: problems found", problems, "Repair or download the data set again.")
            )

    def licensed(self, clips: Iterable[Clip], licences: Collection[str]) -> tuple[Clip, ...]:
        """Return those of `clips` whose licence is one of `licences`, without clips whose licence is not known.

        Raises:
            DatasetError: no clip of the data set has one of these licences.
        """
        known = {credit.licence for credit in self.credits.values()} - {""}
        chosen = known & set(licences)
        if not chosen:
            asked = " or ".join(sorted(licences)) or "(none)"
            raise DatasetError(
                f"{self.root}: no clip has the licence {asked}; "
                f"this data set has: {', '.join(sorted(known)) or 'no licences at all'}"
            )
        return tuple(c for c in clips if c.filename in self.credits and self.credits[c.filename].licence in chosen)

    def credited(self, clips: Iterable[Clip]) -> Credits:
        """Return links to the recordings that `clips` were cut from, by licence and author, as far as known."""
        links_by_author: Credits = {}
        for credit in (self.credits[clip.filename] for clip in clips if clip.filename in self.credits):
            links = links_by_author.setdefault(credit.licence, {}).setdefault(credit.author, [])
            if credit.url not in links:
                links.append(credit.url)
        return links_by_author

    def with_clips(self, clips: Iterable[Clip]) -> Dataset:
        """Return the data set with these clips of its files; each part of a fold keeps its files.

        Labels without a clip are left out.
        """
        clips = tuple(clips)
        by_file: dict[str, list[Clip]] = {}
        for clip in clips:
            by_file.setdefault(clip.filename, []).append(clip)

        def select(part: tuple[Clip, ...]) -> tuple[Clip, ...]:
            return tuple(clip for name in dict.fromkeys(old.filename for old in part) for clip in by_file.get(name, ()))

        folds = {
            number: replace(fold, train=select(fold.train), evaluate=select(fold.evaluate))
            for number, fold in self.folds.items()
        }
        present = {clip.label for clip in clips}
        labels = tuple(label for label in self.labels if label in present)
        return replace(self, labels=labels, clips=clips, folds=folds)

    def unrelated(self, clips: Iterable[Clip], other: Dataset, others: Iterable[Clip]) -> tuple[Clip, ...]:
        """Return those of `clips` that share neither group nor author with `others`, clips of `other`.

        Authors count where both data sets name them.
        """
        others = tuple(others)
        groups, authors = {clip.group for clip in others}, {other._author(clip) for clip in others} - {""}
        return tuple(clip for clip in clips if clip.group not in groups and self._author(clip) not in authors)

    @cached_property
    def by_filename(self) -> dict[str, Clip]:
        """The clips by their file names."""
        return {clip.filename: clip for clip in self.clips}

    def _author(self, clip: Clip) -> str:
        credit = self.credits.get(clip.filename)
        return "" if credit is None else credit.author

    def _clip_problems(self) -> Iterator[str]:
        for (name, _), count in Counter((clip.filename, clip.start) for clip in self.clips).items():
            if count > 1:
                yield f"{name} is listed {count} times"
        for clip in self.clips:
            if not clip.label:
                yield f"{clip.filename} has no label"

    def find_split_groups(self) -> Iterator[str]:
        """Yield a sentence for each group that is in both parts of a fold."""
        for number, fold in self.folds.items():
            train, evaluate = ({clip.group for clip in clips} for clips in (fold.train, fold.evaluate))
            for group in sorted(train & evaluate):
                yield f"fold {number}: group {group} is in both train and evaluate"

    def _audio_problems(self, progress: Progress) -> Iterator[str]:
        for name in progress.track(list(self.by_filename), "Checking audio"):
            if not is_inside(name):
                yield f"{name!r}: not a path inside the data set"
            elif not (path := find_file(self.root, name)).is_file():
                yield f"{name}: no such file"
            else:
                try:
                    audio.probe(path)
                except (AudioError, OSError) as error:
                    yield str(error)


def is_inside(name: str) -> bool:
    """Return whether the name of a file is a path inside the folder of its data set."""
    relative = PurePosixPath(name)
    return bool(name) and not relative.is_absolute() and ".." not in relative.parts


def find_file(root: Path, name: str) -> Path:
    """Return the file of a data set; `name` is relative to the folder.

    A name whose accents are composed in the lists and decomposed on disk, or the other way round, is the same name.
    """
    path = root / name
    if not path.exists() and not name.isascii():
        for form in ("NFC", "NFD"):
            other = root / unicodedata.normalize(form, name)
            if other.exists():
                return other
    return path


@dataclass(frozen=True)
class Layout:
    """One way to lay out a data set in a folder.

    Attributes:
        name: unique name, such as "tau".
        title: name that a user reads.
        expects: what the folder must hold, as a message says where no layout fits.
        read: reads the data set in a folder; returns None where the folder has another layout, and raises a
            DatasetError where it has this one but is damaged.
        precedence: layouts are tried in ascending order of it; the first that fits is used.
    """

    name: str
    title: str
    expects: str
    read: Callable[[Path], Dataset | None]
    precedence: int = 50


LAYOUTS: Registry[Layout] = Registry("edge_asc.layouts", Layout, "LAYOUT", "layout")


def list_layouts() -> list[Layout]:
    """Return the layouts in the order in which they are tried."""
    return sorted(LAYOUTS.all().values(), key=lambda layout: (layout.precedence, layout.name))
