"""A data set of generated scenes, in the TAU layout."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edge_asc import audio
from edge_asc.data.dataset import Dataset
from edge_asc.data.layouts.tau import GENERATED, META, SETUP, TAU_LABELS
from edge_asc.data.scenes import SAMPLE_RATE, VERSION, check_scene, generate_scene
from edge_asc.errors import DatasetError, OutputError
from edge_asc.files import write_bytes, write_json
from edge_asc.frontend import Array
from edge_asc.output import LOCK, claim_folder
from edge_asc.progress import SILENT, Progress

# Folder of the clips, and bytes that a file takes beside its samples.
AUDIO, FILE_BYTES = "audio", 4096


def write_scenes(
    root: Path,
    clips_per_class: int,
    seed: int,
    seconds: float = 10.0,
    folds: int = 1,
    progress: Progress = SILENT,
) -> Dataset:
    """Write generated scenes as a data set in the TAU layout, with audio as 16-bit WAV at 16 kHz.

    Two or three clips share a place, and no place is on both sides of a fold. One fold evaluates a third of
    the places; several folds evaluate each place once. The same call resumes an interrupted one: meta.csv is
    written last.

    Args:
        root: a new or empty folder, or one that the same call has begun to fill.
        clips_per_class: number of clips of each of the ten TAU labels.
        seed: seed of the scenes, at least 0.
        seconds: length of a clip.
        folds: number of folds.
        progress: one unit for each clip.

    Raises:
        DatasetError: too few clips for the folds, or the folder holds another data set.
        OutputError: the folder cannot be written, its disk has too little room, or another process writes to it.
    """
    least = max(2, folds)
    if folds < 1 or clips_per_class < least:
        raise DatasetError(
            f"got {clips_per_class} clips per class in {folds} folds; "
            f"expected at least 1 fold and {least} clips per class, one for each side of a fold"
        )
    check_scene(seed, seconds, SAMPLE_RATE)
    needed = round(len(TAU_LABELS) * clips_per_class * (seconds * SAMPLE_RATE * 2 + FILE_BYTES))
    with claim_folder(root, 0 if (root / META).exists() else needed - _count_bytes(root / AUDIO)):
        _mark(
            root,
            {"generator": VERSION, "clips": clips_per_class, "seed": seed, "seconds": seconds, "folds": folds},
        )
        rows = _list_rows(clips_per_class, max(least, clips_per_class // 2))
        missing = [row for row in rows if not (root / row.filename).exists()]
        for row in progress.track(missing, "Generating scenes") if missing else ():
            # Seeds are spread so that no two clips, and no two calls with different seeds, share one.
            clip_seed = (seed * 1_000_003 + row.place) * 1_009 + row.take
            scene = generate_scene(row.label, clip_seed, seconds, SAMPLE_RATE, place=seed * 1_000_003 + row.place)
            _write_clip(root / row.filename, scene)
        _write_lists(root, rows, folds)
        return Dataset.open(root)


def _list_rows(clips_per_class: int, places: int) -> list[_Row]:
    return [
        _Row(label, place=number * places + i % places, take=i // places, part=i % places)
        for number, label in enumerate(TAU_LABELS)
        for i in range(clips_per_class)
    ]


def _write_clip(path: Path, scene: Array) -> None:
    try:
        audio.write(path, scene, SAMPLE_RATE)
    except (RuntimeError, AssertionError) as error:  # of libsndfile, where a disk is full
        raise OutputError(f"{path}: cannot be written ({error}); free some space there, then run it again") from error


def _count_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir()) if folder.is_dir() else 0


def _write_lists(root: Path, rows: list[_Row], folds: int) -> None:
    """Write the lists of each fold, and meta.csv last."""
    parts = folds if folds > 1 else 3
    for fold in range(folds):
        setup = root / SETUP
        train = [row for row in rows if row.part % parts != fold]
        evaluate = [row for row in rows if row.part % parts == fold]
        for part, chosen in (("train", train), ("evaluate", evaluate)):
            _write_table(setup / f"fold{fold + 1}_{part}.csv", ["filename", "scene_label"], map(_Row.fields, chosen))
        _write_table(setup / f"fold{fold + 1}_test.csv", ["filename"], ([row.filename] for row in evaluate))
    _write_table(
        root / META,
        ["filename", "scene_label", "identifier", "source_label"],
        ([*row.fields(), f"generated-{row.place}", "a"] for row in rows),
    )


@dataclass(frozen=True)
class _Row:
    label: str
    place: int
    take: int
    part: int

    @property
    def filename(self) -> str:
        return f"audio/{self.label}-generated-{self.place}-{self.take}-a.wav"

    def fields(self) -> list[str]:
        return [self.filename, self.label]


def _mark(root: Path, settings: dict[str, float]) -> None:
    """Mark `root` as the folder of scenes with these settings; raise an error where it holds something else."""
    marker = root / GENERATED
    if marker.exists():
        try:
            before = json.loads(marker.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise DatasetError(f"{marker}: cannot be read ({error}); choose another folder") from error
        if before != settings:
            raise DatasetError(
                f"{marker}: the folder holds scenes with {before}; expected {settings}: choose another folder"
            )
    elif root.exists() and (not root.is_dir() or any(path.name != LOCK for path in root.iterdir())):
        raise DatasetError(f"{root}: not empty, and not written by this generator; expected a new or empty folder")
    else:
        write_json(marker, settings)


def _write_table(path: Path, header: list[str], rows: Iterable[list[str]]) -> None:
    write_bytes(path, "".join("\t".join(row) + "\n" for row in [header, *rows]).encode())
