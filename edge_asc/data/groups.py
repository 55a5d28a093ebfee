"""Groups of clips that belong together: by file name, by a column, by equal content."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from edge_asc.data.dataset import Clip, Dataset
from edge_asc.errors import DatasetError
from edge_asc.files import sha256
from edge_asc.progress import SILENT, Progress

# Ways to group that are not names of columns.
BY_FILE, BY_NAME = "file", "name"
LAST_NUMBER = re.compile(r"\d+\D*$")


def regroup(dataset: Dataset, by: str = "") -> Dataset:
    """Return the data set with other groups.

    Args:
        dataset: its layout gives the groups that its lists state; else each file is a group.
        by: "file": each file is a group. "name": files of one folder whose names are equal up to the last number are
            one, such as rec12_3 and rec12_4. The name of a column: files with an equal value are one. "": by name in
            each class whose groups the lists do not state and that would have several.

    Raises:
        DatasetError: there is no such column.
    """
    if by in (BY_FILE, BY_NAME):
        key = own_group if by == BY_FILE else name_group
        return dataset.with_clips(replace(clip, group=key(clip.filename)) for clip in dataset.clips)
    if by:
        values = _find_column(dataset, by)
        return dataset.with_clips(
            replace(clip, group=f"{by} {value}" if (value := values.get(clip.filename)) else own_group(clip.filename))
            for clip in dataset.clips
        )
    named: dict[str, set[str]] = defaultdict(set)
    stated: set[str] = set()
    for clip in dataset.clips:
        named[clip.label].add(name_group(clip.filename))
        if clip.group != own_group(clip.filename):
            stated.add(clip.label)
    guessed = {label for label, groups in named.items() if len(groups) > 1} - stated
    return dataset.with_clips(
        replace(clip, group=name_group(clip.filename)) if clip.label in guessed else clip for clip in dataset.clips
    )


def own_group(filename: str) -> str:
    """Return the group of a file that belongs to no other one: its path without suffix."""
    return str(PurePosixPath(filename).with_suffix(""))


def name_group(filename: str) -> str:
    """Return the path of a file up to the last number of its name, if a number comes before that; else its own group.

    A single number, as in dog12, is that of the file rather than of a part of it.
    """
    path = PurePosixPath(filename)
    match = LAST_NUMBER.search(path.stem)
    prefix = path.stem[: match.start()].rstrip(" _-.([#") if match else ""
    return str(path.parent / prefix) if re.search(r"\d", prefix) else own_group(filename)


def _find_column(dataset: Dataset, name: str) -> Mapping[str, str]:
    for column, values in dataset.columns.items():
        if column == name.strip().casefold().replace(" ", "_").replace("-", "_"):
            return values
    known = ", ".join(dataset.columns) or "none: this data set has no table"
    raise DatasetError(
        f"{dataset.root}: no column {name}; expected {BY_FILE}, {BY_NAME}, or one of the columns of its table ({known})"
    )


@dataclass(frozen=True)
class Duplicates:
    """Files of equal content: each set has two or more names, in the order of the data set."""

    sets: tuple[tuple[str, ...], ...]

    @classmethod
    def find(cls, dataset: Dataset, filenames: Sequence[str], progress: Progress = SILENT) -> Duplicates:
        """Compare the bytes of files, by their SHA-256 where their sizes are equal."""
        paths = {clip.filename: dataset.path(clip) for clip in dataset.clips}
        sizes = {name: paths[name].stat().st_size for name in filenames}
        count = Counter(sizes.values())
        alike = [name for name in filenames if count[sizes[name]] > 1]
        by_content: dict[str, list[str]] = defaultdict(list)
        for name in progress.track(alike, "Searching for files of equal content") if alike else ():
            by_content[sha256(paths[name])].append(name)
        return cls(tuple(tuple(names) for names in by_content.values() if len(names) > 1))

    def join(self, clips: Iterable[Clip]) -> list[Clip]:
        """Return the clips with the groups of equal files joined."""
        clips = list(clips)
        group_of = {clip.filename: clip.group for clip in clips}
        parents: dict[str, str] = {}

        def find(group: str) -> str:
            while (parent := parents.get(group, group)) != group:
                group = parent
            return group

        for names in self.sets:
            first, *others = (find(group_of[name]) for name in names)
            for other in others:
                if (other := find(other)) != first:
                    parents[other] = first
        return [replace(clip, group=find(clip.group)) for clip in clips]

    def describe(self, label_of: Callable[[str], str]) -> list[str]:
        """Return a sentence about all of them, and one about those under different labels."""
        if not self.sets:
            return []
        copies = sum(len(names) - 1 for names in self.sets)
        first = self.sets[0]
        held = f"{copies} file holds" if copies == 1 else f"{copies} files hold"
        lines = [f"{held} the same audio as another one, such as {first[0]} and {first[1]}; they are in one group"]
        if mixed := [names for names in self.sets if len({label_of(name) for name in names}) > 1]:
            lines.append(
                f"the same audio has different labels in {len(mixed)} cases, such as {mixed[0][0]} and {mixed[0][-1]}: "
                "remove the wrong one"
            )
        return lines
