"""Clips as tables list them: files found where corpora keep them, labels, folds, groups."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from edge_asc.data.dataset import Clip, Dataset, Fold
from edge_asc.data.folder import Folder
from edge_asc.data.labels import EVALUATION, SPLITS, VALIDATION, read_label
from edge_asc.data.table import Row, Table

FILES = (
    "filename",
    "file_name",
    "slice_file_name",
    "file",
    "path",
    "filepath",
    "file_path",
    "audio",
    "audio_file",
    "fname",
    "wav",
)
LABELS = ("label", "scene_label", "category", "class", "class_name", "label_name", "sound", "target", "classid")
GROUPS = ("src_file", "fsid", "group", "identifier", "source", "source_file", "recording", "recording_id", "session")
SPLIT_COLUMNS = ("split", "subset", "partition")


class SoundIndex:
    """The sound files of a folder, found by the names that a table gives them."""

    def __init__(self, folder: Folder) -> None:
        self._exact = {str(path) for path in folder.sounds}
        self._by_name: dict[str, list[PurePosixPath]] = defaultdict(list)
        self._by_stem: dict[str, list[PurePosixPath]] = defaultdict(list)
        for path in folder.sounds:
            self._by_name[path.name].append(path)
            self._by_stem[path.stem].append(path)

    def find(self, name: str, folder: PurePosixPath, fold: str) -> str | None:
        """Return the relative path of the file that a row means, or None where there is none or more than one.

        Args:
            name: as the row has it: a path from the root, from the table's folder, or the last part of one; with or
                without suffix.
            folder: that of the table, relative to the root.
            fold: as the row has it; decides between files of one name in folders such as fold3.
        """
        asked = PurePosixPath(name.replace("\\", "/"))
        for path in (str(asked), str(folder / asked)):
            if path in self._exact:
                return path
        found = [path for path in self._by_name.get(asked.name, ()) if path.parts[-len(asked.parts) :] == asked.parts]
        found = found or [
            path
            for path in self._by_stem.get(asked.name, ())
            if path.with_suffix("").parts[-len(asked.parts) :] == asked.parts
        ]
        if len(found) > 1:
            found = [path for path in found if path.parent.name in (fold, f"fold{fold}")]
        return str(found[0]) if len(found) == 1 else None


@dataclass
class Listing:
    """What the tables of a data set list, gathered row by row.

    Attributes:
        root: folder of the data set.
        folder: its files.
    """

    root: Path
    folder: Folder
    clips: list[Clip] = field(default_factory=list)
    folds: dict[str, str] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    found: int = 0

    def __post_init__(self) -> None:
        self.index = SoundIndex(self.folder)

    def add(self, table: Table, file: str, label: str, split: str = "") -> None:
        """Add the rows of a table.

        Args:
            file, label: its columns.
            split: that of all rows, such as "train"; "" where a column says it, or the first folder of a file.
        """
        group, by_row = table.find(GROUPS), table.find(SPLIT_COLUMNS)
        where = PurePosixPath(table.path.parent.relative_to(self.root).as_posix())
        for row in table.rows:
            if not row.cells.get(file):
                self.problems.append(f"{table.path.name}:{row.line}: names no file; expected one in the column {file}")
                continue
            name = self._add_row(row, where, file, label, group)
            if fold := row.cells.get("fold"):
                self.folds[name] = fold
            self.splits[name] = (split or row.cells.get(by_row, "") or PurePosixPath(name).parts[0]).casefold()

    def _add_row(self, row: Row, where: PurePosixPath, file: str, label: str, group: str) -> str:
        asked = row.cells[file]
        name = self.index.find(asked, where, row.cells.get("fold", ""))
        self.found += name is not None
        name = name or str(PurePosixPath(asked.replace("\\", "/")))
        own = str(PurePosixPath(name).with_suffix(""))
        value = row.cells.get(group, "")
        self.clips.append(Clip(name, read_label(row.cells.get(label, "")), f"{group} {value}" if value else own))
        for column, cell in row.cells.items():
            self.columns.setdefault(column, {})[name] = cell
        return name

    def to_dataset(self) -> Dataset:
        """Return the data set; a file that is listed with several labels is a problem."""
        clips, problems = _merge(self.clips)
        listed = {clip.filename for clip in clips}
        notes = self.folder.describe_archives()
        if unlisted := [path for path in map(str, self.folder.sounds) if path not in listed]:
            notes.append(f"{len(unlisted)} sound files that no table lists are left out, such as {unlisted[0]}")
        return Dataset(
            name=self.root.resolve().name,
            root=self.root,
            labels=tuple(sorted({clip.label for clip in clips} - {""})),
            clips=tuple(clips),
            folds=make_numbered_folds(clips, self.folds) or make_split_fold(clips, self.splits),
            problems=(*self.problems, *problems),
            notes=tuple(notes),
            columns=self.columns,
        )


def _merge(clips: Iterable[Clip]) -> tuple[list[Clip], list[str]]:
    """Return each file once, and a sentence for each file with several labels."""
    by_name: dict[str, Clip] = {}
    labels: dict[str, dict[str, None]] = defaultdict(dict)
    for clip in clips:
        by_name.setdefault(clip.filename, clip)
        labels[clip.filename][clip.label] = None
    problems = [
        f"{name}: is listed with the labels {', '.join(names)}; expected one label for each file"
        for name, names in labels.items()
        if len(names) > 1
    ]
    return list(by_name.values()), problems


def make_numbered_folds(clips: Sequence[Clip], numbers: dict[str, str]) -> dict[int, Fold]:
    """Return a fold for each number: it holds out the files that have it. None unless each file has one of several."""
    values = {name: re.search(r"\d+", text) for name, text in numbers.items()}
    of = {name: int(match[0]) for name, match in values.items() if match}
    if len(of) < len(clips) or len(set(of.values())) < 2:
        return {}
    return {
        number: Fold(
            tuple(clip for clip in clips if of[clip.filename] != number),
            tuple(clip for clip in clips if of[clip.filename] == number),
        )
        for number in sorted(set(of.values()))
    }


def make_split_fold(clips: Sequence[Clip], splits: dict[str, str]) -> dict[int, Fold]:
    """Return one fold that holds out the test part, or else the validation part; none without such parts.

    Beside a test part, the validation part is trained on: nothing is selected by it.
    """
    names = {splits.get(clip.filename, "") for clip in clips}
    held_out = names & EVALUATION or names & VALIDATION
    if not held_out or not names <= SPLITS or names <= held_out:
        return {}
    train = tuple(clip for clip in clips if splits[clip.filename] not in held_out)
    return {1: Fold(train, tuple(clip for clip in clips if splits[clip.filename] in held_out))}
