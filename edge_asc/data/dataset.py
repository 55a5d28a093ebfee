"""Data sets in the TAU Urban Acoustic Scenes layout: meta.csv, evaluation_setup/ and audio files."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal, Self

from rich.console import Console
from rich.progress import track

from edge_asc import audio
from edge_asc.errors import AudioError, DatasetError

Part = Literal["train", "evaluate"]
Credits = dict[str, dict[str, list[str]]]

TAU_LABELS = (
    "airport",
    "bus",
    "metro",
    "metro_station",
    "park",
    "public_square",
    "shopping_mall",
    "street_pedestrian",
    "street_traffic",
    "tram",
)
TAU_NAMES = ("tau2019", "tau2020-mobile", "tau2022-mobile")
GENERATED = "scenes.json"  # marks a folder of generated scenes
SHOWN = 20


@dataclass(frozen=True)
class Clip:
    """One row of meta.csv.

    Attributes:
        filename: relative to the root of the data set, as listed.
        label: the scene.
        group: the place or the recording that the clip is cut from; never on both sides of a split.
        device: the recording device, "" where it is not given.
    """

    filename: str
    label: str
    group: str
    device: str


@dataclass(frozen=True)
class Credit:
    """Who made a clip and how it may be used; fields are "" where credits.csv leaves them empty."""

    licence: str
    author: str
    url: str


@dataclass(frozen=True)
class Dataset:
    """The clips of a data set, as listed; the audio itself is not looked at before `check`.

    Attributes:
        name: one of TAU_NAMES, or whatever name the set was opened under.
        root: the folder that holds meta.csv.
        labels: the scenes in the order of a model's outputs.
        clips: the rows of meta.csv, in its order.
    """

    name: str
    root: Path
    labels: tuple[str, ...]
    clips: tuple[Clip, ...] = field(repr=False)

    @classmethod
    def open(cls, root: str | Path, name: str | None = None) -> Self:
        """Read `root`/meta.csv; without a `name`, it is guessed from the folder.

        Columns are found by their names: filename, scene_label and, where present, identifier (the group) and
        source_label (the device). The labels of a TAU set are always its ten; those of another are sorted.

        Raises:
            DatasetError: meta.csv is missing, empty, not tab-separated or lacks a column, or a set that is
                named after TAU has other labels.
        """
        root = Path(root)
        meta = root / "meta.csv"
        clips = tuple(
            Clip(
                filename=row["filename"],
                label=row["scene_label"],
                group=row.get("identifier") or _group_of(row["filename"], row["scene_label"]),
                device=row.get("source_label", ""),
            )
            for _, row in _rows(meta, ("filename", "scene_label"))
        )
        if not clips:
            raise DatasetError(f"{meta}: lists no clips; expected one per line below the header")
        name = name or _guess_name(root)
        labels = tuple(sorted({clip.label for clip in clips} - {""}))
        if name in TAU_NAMES:
            if others := [label for label in labels if label not in TAU_LABELS]:
                raise DatasetError(
                    f"{meta}: labels {', '.join(others)} are not among those of {name}; "
                    f"expected {', '.join(TAU_LABELS)}: open another data set under another name"
                )
            labels = TAU_LABELS
        return cls(name, root, labels, clips)

    @property
    def folds(self) -> tuple[int, ...]:
        """The numbers of the folds in evaluation_setup/, ascending; empty where there are none."""
        matches = (re.fullmatch(r"fold(\d+)_train\.csv", path.name) for path in self._setup.glob("fold*_train.csv"))
        return tuple(sorted(int(match[1]) for match in matches if match))

    def split(self, fold: int, part: Part) -> tuple[Clip, ...]:
        """The clips of one part of a fold, in the order of its file, labelled by meta.csv.

        Raises:
            DatasetError: no such fold, or its file cannot be read or names clips that meta.csv lacks.
        """
        path = self._fold_file(fold, part)
        names = [row["filename"] for _, row in _rows(path, ("filename",))]
        if unknown := [name for name in names if name not in self._by_name]:
            raise DatasetError(
                f"{path}: names {len(unknown)} clips that meta.csv lacks, the first {unknown[0]!r}; "
                "expected clips of meta.csv only"
            )
        return tuple(self._by_name[name] for name in names)

    def path(self, clip: Clip) -> Path:
        """The audio file of a clip."""
        return self.root / clip.filename

    def check(self, progress: bool = False) -> None:
        """Check the lists against each other and open the header of every audio file.

        Raises:
            DatasetError: one error with everything that is wrong; at most SHOWN problems are printed.
        """
        problems = [*self._meta_problems(), *self._fold_problems(), *self._audio_problems(progress)]
        if problems:
            raise DatasetError(
                listing(f"{self.root}: problems found", problems, "Repair or download the data set again.")
            )

    def credits(self) -> dict[str, Credit]:
        """The credit of each file name in credits.csv.

        Raises:
            DatasetError: credits.csv is missing, lacks a column, or lists a clip twice.
        """
        path = self.root / "credits.csv"
        credits: dict[str, Credit] = {}
        for line, row in _rows(path, ("filename", "licence", "author")):
            if row["filename"] in credits:
                raise DatasetError(f"{path}:{line}: {row['filename']} is listed twice; expected one licence per clip")
            credits[row["filename"]] = Credit(row["licence"], row["author"], row.get("freesound_url", ""))
        return credits

    def licensed(self, clips: Iterable[Clip], licences: Collection[str]) -> tuple[Clip, ...]:
        """Those of `clips` whose licence is one of `licences`; a clip without a known licence is left out.

        Raises:
            DatasetError: there is no credits.csv to know the licences from, or none of them occurs in it.
        """
        credits = self.credits()
        found = {credit.licence for credit in credits.values()} - {""}
        wanted = found & set(licences)
        if not wanted:
            asked = " or ".join(sorted(licences)) or "(none)"
            raise DatasetError(
                f"{self.root / 'credits.csv'}: no clip has the licence {asked}; "
                f"found {', '.join(sorted(found)) or 'none at all'}: ask for one of these"
            )
        return tuple(clip for clip in clips if clip.filename in credits and credits[clip.filename].licence in wanted)

    def credited(self, clips: Iterable[Clip]) -> Credits:
        """Links to the recordings that `clips` were cut from, by licence and author; empty without a credits.csv.

        Raises:
            DatasetError: credits.csv cannot be read.
        """
        if not (self.root / "credits.csv").exists():
            return {}
        known = self.credits()
        found: Credits = {}
        for credit in (known[clip.filename] for clip in clips if clip.filename in known):
            links = found.setdefault(credit.licence, {}).setdefault(credit.author, [])
            if credit.url not in links:
                links.append(credit.url)
        return found

    def unrelated(self, clips: Iterable[Clip], other: Dataset, others: Iterable[Clip]) -> tuple[Clip, ...]:
        """Those of `clips` that share neither group nor, where both sets name authors, author with `others` of `other`.

        Raises:
            DatasetError: a credits.csv is there but cannot be read.
        """
        others = tuple(others)
        groups, authors = {clip.group for clip in others}, other._authors(others)
        mine = self._authored()
        return tuple(clip for clip in clips if clip.group not in groups and mine.get(clip.filename) not in authors)

    def _authored(self) -> dict[str, str]:
        if not (self.root / "credits.csv").exists():
            return {}
        return {name: credit.author for name, credit in self.credits().items() if credit.author}

    def _authors(self, clips: Iterable[Clip]) -> set[str]:
        authored = self._authored()
        return {authored[clip.filename] for clip in clips if clip.filename in authored}

    @property
    def _setup(self) -> Path:
        return self.root / "evaluation_setup"

    @cached_property
    def _by_name(self) -> dict[str, Clip]:
        return {clip.filename: clip for clip in self.clips}

    def _fold_file(self, fold: int, part: Part) -> Path:
        if fold not in self.folds:
            known = ", ".join(map(str, self.folds)) or "none"
            raise DatasetError(f"{self._setup}: no fold {fold}: fold{fold}_train.csv is missing; folds found: {known}")
        return self._setup / f"fold{fold}_{part}.csv"

    def _meta_problems(self) -> Iterator[str]:
        for name, count in Counter(clip.filename for clip in self.clips).items():
            if count > 1:
                yield f"meta.csv: {name} is listed {count} times"
        for clip in self.clips:
            if not clip.label:
                yield f"meta.csv: {clip.filename} has no label"

    def _fold_problems(self) -> Iterator[str]:
        for fold in self.folds:
            groups: dict[Part, set[str]] = {"train": set(), "evaluate": set()}
            for part, seen in groups.items():
                path = self._fold_file(fold, part)
                try:
                    rows = list(_rows(path, ("filename",)))
                except DatasetError as error:
                    yield str(error)
                    continue
                names: set[str] = set()
                for line, row in rows:
                    name, where = row["filename"], f"{path.name}:{line}"
                    if name in names:
                        yield f"{where}: {name} is listed twice"
                    names.add(name)
                    clip = self._by_name.get(name)
                    if clip is None:
                        yield f"{where}: {name} is not in meta.csv"
                        continue
                    seen.add(clip.group)
                    if row.get("scene_label", clip.label) != clip.label:
                        yield f"{where}: {name} is {row['scene_label']!r} here and {clip.label!r} in meta.csv"
            for group in sorted(groups["train"] & groups["evaluate"]):
                yield f"fold {fold}: group {group} is in both train and evaluate"

    def _audio_problems(self, progress: bool) -> Iterator[str]:
        console = Console(stderr=True)
        names = list(self._by_name)
        for name in track(names, "Checking audio", console=console, disable=not progress):
            listed = PurePosixPath(name)
            if not name or listed.is_absolute() or ".." in listed.parts:
                yield f"{name!r}: not a path inside the data set"
            elif not (self.root / name).is_file():
                yield f"{name}: no such file"
            else:
                try:
                    audio.duration(self.root / name)
                except (AudioError, OSError) as error:
                    yield str(error)


def group_split(clips: Sequence[Clip], fraction: float, seed: int) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """Split clips into training and validation by whole groups, each in the order of `clips`.

    About `fraction` of the clips of each label, 0 < fraction < 1, go to validation: at least one group of a
    label that has two, and never all of them. The same clips and seed give the same split, in any order.

    Raises:
        DatasetError: fraction is out of range, or no label has two groups.
    """
    if not 0 < fraction < 1:
        raise DatasetError(f"validation fraction is {fraction}; expected more than 0 and less than 1")
    members: dict[str, list[str]] = defaultdict(list)
    for clip in clips:
        members[clip.group].append(clip.label)
    groups: dict[str, list[str]] = defaultdict(list)
    for group, labels in members.items():
        # A group with clips of several labels counts for its most frequent one.
        groups[min(labels, key=lambda label: (-labels.count(label), label))].append(group)

    held_out: set[str] = set()
    for candidates in groups.values():
        if len(candidates) < 2:
            continue
        # Ordered by a hash rather than a generator, so that a split does not depend on a library's version.
        candidates.sort(key=lambda group: hashlib.sha256(f"{seed}/{group}".encode()).digest())
        missing = fraction * sum(len(members[group]) for group in candidates)
        chosen: list[str] = []
        for group in candidates:
            size = len(members[group])
            if size < 2 * missing and len(chosen) < len(candidates) - 1:
                chosen.append(group)
                missing -= size
        held_out.update(chosen or [min(candidates, key=lambda group: len(members[group]))])
    if not held_out:
        raise DatasetError(
            f"{len(clips)} clips of {len(members)} groups cannot be split: no label has two groups; "
            "expected at least two places or recordings of some label"
        )
    train = tuple(clip for clip in clips if clip.group not in held_out)
    return train, tuple(clip for clip in clips if clip.group in held_out)


def listing(title: str, problems: Sequence[str], advice: str) -> str:
    """A title with the number of problems, the first SHOWN of them a line each, and what to do."""
    lines = [f"{title} ({len(problems)}):", *(f"  {problem}" for problem in problems[:SHOWN])]
    if len(problems) > SHOWN:
        lines.append(f"  and {len(problems) - SHOWN} more")
    return "\n".join([*lines, advice])


def _rows(path: Path, required: Collection[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The line number and the fields by column name of each row of a tab-separated file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            header = [column.strip() for column in next(reader, [])]
            _check_header(path, header, required)
            for fields in reader:
                if fields:
                    padded = fields + [""] * (len(header) - len(fields))
                    yield (
                        reader.line_num,
                        dict(zip(header, (value.strip() for value in padded), strict=False)),
                    )
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be read ({error.strerror}); expected the folder of a data set in the TAU layout"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: not tab-separated UTF-8 text ({error})") from error


def _check_header(path: Path, header: list[str], required: Collection[str]) -> None:
    missing = [column for column in required if column not in header]
    if missing and any("," in column for column in header):
        raise DatasetError(f"{path}: columns are separated by commas; expected tabs: convert the file")
    if missing:
        raise DatasetError(
            f"{path}: no column {' or '.join(missing)}; "
            f"found {', '.join(header) or 'an empty file'}; expected at least {', '.join(required)}"
        )


def _guess_name(root: Path) -> str:
    if (root / GENERATED).exists():
        return "generated"
    folder = root.resolve().name
    mobile = "mobile" in folder.lower()
    if match := re.search(r"(?<![a-z])tau(?![a-z]).*(2019|2020|2022)", folder.lower()):
        for name in TAU_NAMES:
            if name.startswith(f"tau{match[1]}") and name.endswith("-mobile") == mobile:
                return name
    return folder


def _group_of(filename: str, label: str) -> str:
    """City and place in a TAU file name, label-city-place-segment…; for any other, its own stem."""
    stem = PurePosixPath(filename).stem
    parts = stem.removeprefix(f"{label}-").split("-")
    return "-".join(parts[:2]) if len(parts) >= 4 else stem
