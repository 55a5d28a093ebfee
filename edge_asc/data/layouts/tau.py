"""The layout of TAU Urban Acoustic Scenes: meta.csv, evaluation_setup/ and audio files; credits.csv where there is one.

Tables are tab-separated with a header row. Columns are found by their names: filename, scene_label and, where present,
identifier (the group) and source_label (the device).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edge_asc.data.dataset import Clip, Credit, Dataset, Fold, Layout, Part
from edge_asc.errors import DatasetError

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
META, SETUP, CREDITS = "meta.csv", "evaluation_setup", "credits.csv"
# A quote within a quoted field as R escapes it; at the end of a field a backslash is the file name's own.
ESCAPED_QUOTE = re.compile(r'\\"(?![\t\r\n])')
GENERATED = "scenes.json"  # marks a folder of generated scenes


def read(root: Path) -> Dataset | None:
    """Read a data set in the TAU layout; None where the folder holds neither meta.csv nor evaluation_setup/.

    Without evaluation_setup/, a meta.csv with other columns, or with other separators, is another table of labels.

    The name is guessed from the folder: a TAU set has the ten TAU labels in their order; labels of other sets are
    sorted.

    Raises:
        DatasetError: meta.csv is missing, empty, not tab-separated or lacks a column; credits.csv is damaged; or the
            folder is named after a TAU set and has other labels.
    """
    meta = root / META
    if not (root / SETUP).is_dir() and not _is_tau(meta):
        return None
    clips = tuple(
        Clip(
            filename=row["filename"],
            label=row["scene_label"],
            group=row.get("identifier") or _guess_group(row["filename"], row["scene_label"]),
            device=row.get("source_label", ""),
        )
        for _, row in _rows(meta, ("filename", "scene_label"))
    )
    if not clips:
        raise DatasetError(f"{meta}: lists no clips; expected one per line below the header")
    name = _guess_name(root)
    labels = tuple(sorted({clip.label for clip in clips} - {""}))
    if name in TAU_NAMES:
        if others := [label for label in labels if label not in TAU_LABELS]:
            raise DatasetError(
                f"{meta}: labels {', '.join(others)} are not among those of {name}; "
                f"expected {', '.join(TAU_LABELS)}: rename the folder if this is another data set"
            )
        labels = TAU_LABELS
    lists = [_FoldLists.read(root, number, clips) for number in _fold_numbers(root)]
    return Dataset(
        name=name,
        root=root,
        labels=labels,
        clips=clips,
        folds={each.number: each.fold for each in lists},
        credits=_read_credits(root),
        problems=tuple(problem for each in lists for problem in each.problems),
    )


def _is_tau(meta: Path) -> bool:
    """Whether a table may be one of the TAU layout: that it is damaged is said later."""
    try:
        with meta.open(encoding="utf-8-sig") as file:
            header = [column.strip(' "\r\n') for column in file.readline().split("\t")]
    except (OSError, UnicodeDecodeError):
        return meta.exists()
    return header == [""] or "scene_label" in header


@dataclass(frozen=True)
class _FoldLists:
    """A fold as its two files list it, and everything that is wrong with them."""

    number: int
    fold: Fold
    problems: tuple[str, ...]

    @classmethod
    def read(cls, root: Path, number: int, clips: tuple[Clip, ...]) -> _FoldLists:
        by_filename = {clip.filename: clip for clip in clips}
        parts: dict[Part, tuple[Clip, ...]] = {"train": (), "evaluate": ()}
        problems, errors = [], []
        for part in parts:
            path = root / SETUP / f"fold{number}_{part}.csv"
            try:
                rows = list(_rows(path, ("filename",)))
            except DatasetError as error:
                problems.append(str(error))
                errors.append(str(error))
                continue
            problems += _row_problems(path.name, rows, by_filename)
            names = [row["filename"] for _, row in rows]
            if unknown := [name for name in names if name not in by_filename]:
                errors.append(
                    f"{path}: names {len(unknown)} clips that {META} lacks, the first {unknown[0]!r}; "
                    f"expected clips of {META} only"
                )
            parts[part] = tuple(by_filename[name] for name in names if name in by_filename)
        return cls(number, Fold(parts["train"], parts["evaluate"], "\n".join(errors)), tuple(problems))


def _row_problems(file: str, rows: list[tuple[int, dict[str, str]]], clips: Mapping[str, Clip]) -> Iterator[str]:
    names: set[str] = set()
    for line, row in rows:
        name, where = row["filename"], f"{file}:{line}"
        if name in names:
            yield f"{where}: {name} is listed twice"
        names.add(name)
        clip = clips.get(name)
        if clip is None:
            yield f"{where}: {name} is not in {META}"
        elif row.get("scene_label", clip.label) != clip.label:
            yield f"{where}: {name} is {row['scene_label']!r} here and {clip.label!r} in {META}"


def _fold_numbers(root: Path) -> list[int]:
    names = (path.name for path in (root / SETUP).glob("fold*_train.csv"))
    return sorted(int(match[1]) for name in names if (match := re.fullmatch(r"fold(\d+)_train\.csv", name)))


def _read_credits(root: Path) -> dict[str, Credit]:
    path = root / CREDITS
    credits: dict[str, Credit] = {}
    if not path.exists():
        return credits
    for line, row in _rows(path, ("filename", "licence", "author")):
        if row["filename"] in credits:
            raise DatasetError(f"{path}:{line}: {row['filename']} is listed twice; expected one licence per clip")
        credits[row["filename"]] = Credit(row["licence"], row["author"], row.get("freesound_url", ""))
    return credits


def _rows(path: Path, required: Collection[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line number and the fields by column name of each row of a tab-separated file.

    Fields may be in quotes, as R writes them, if the names of the columns are.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            quoted = file.readline().startswith('"')
            file.seek(0)
            lines = (ESCAPED_QUOTE.sub('""', line) for line in file) if quoted else file
            reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
            header = [column.strip() for column in next(reader, [])]
            _check_header(path, header, required)
            for fields in reader:
                if len(fields) > len(header) and any(fields[len(header) :]):
                    raise DatasetError(
                        f"{path}:{reader.line_num}: has {len(fields)} fields; expected the {len(header)} of the first "
                        "line: write the file without row names"
                    )
                if fields:
                    padded = fields + [""] * (len(header) - len(fields))
                    row = dict(zip(header, (value.strip() for value in padded), strict=False))
                    row["filename"] = _to_posix(path, row["filename"])
                    yield reader.line_num, row
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be read ({error.strerror}); expected the folder of a data set in the TAU layout"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: not tab-separated UTF-8 text ({error})") from error


def _to_posix(path: Path, name: str) -> str:
    """Return a file name of a table with slashes, where the table was written on Windows."""
    root = path.parent.parent if path.parent.name == SETUP else path.parent
    return name.replace("\\", "/") if "\\" in name and not (root / name).exists() else name


def _check_header(path: Path, header: list[str], required: Collection[str]) -> None:
    missing = [column for column in required if column not in header]
    for mark, marks in ((",", "commas"), (";", "semicolons")):
        if missing and any(mark in column for column in header):
            raise DatasetError(f"{path}: columns are separated by {marks}; expected tabs: convert the file")
    if missing:
        raise DatasetError(
            f"{path}: no column {' or '.join(missing)}; "
            f"got {', '.join(header) or 'an empty file'}; expected at least {', '.join(required)}"
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


def _guess_group(filename: str, label: str) -> str:
    """Return city and place of a TAU file name, label-city-place-segment…; for any other file, its path.

    The path, not the name alone: files of one name in two folders are two recordings.
    """
    path = PurePosixPath(filename)
    parts = path.stem.removeprefix(f"{label}-").split("-")
    return "-".join(parts[:2]) if len(parts) >= 4 else str(path.parent / path.stem)


LAYOUT = Layout(
    name="tau",
    title="TAU Urban Acoustic Scenes",
    expects=f"{META} with the columns filename and scene_label, separated by tabs",
    read=read,
    precedence=10,
)
