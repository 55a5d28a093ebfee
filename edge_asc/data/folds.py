"""Folds that are made where a data set has none: by whole groups, stratified by class, seeded."""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from edge_asc.data.dataset import Clip, Dataset, Fold
from edge_asc.errors import EdgeAscError
from edge_asc.files import write_bytes
from edge_asc.scratch import make_name

# Folder of the lists beside a model: it has the TAU layout, without the audio.
SPLIT = "split"


def find_lone_groups(clips: Iterable[Clip]) -> dict[str, str]:
    """Return the labels that have a single group, and that group: nothing of them can be held out."""
    groups: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        groups[clip.label].add(clip.group)
    return {label: next(iter(names)) for label, names in groups.items() if len(names) == 1}


def make_folds(clips: Sequence[Clip], count: int, seed: int) -> dict[int, Fold]:
    """Return folds, by number from 1, that hold out each group once, with about equal shares of each class.

    There are `count` folds, or as many as the class with most groups has. The only group of a class is in no held-out
    part, since nothing else of its class could be trained on. The same clips and seed give the same folds in any order.

    Returns:
        No folds where no class has two groups.
    """
    members: dict[str, Counter[str]] = defaultdict(Counter)
    for clip in clips:
        members[clip.group][clip.label] += 1
    kept = set(find_lone_groups(clips).values())
    movable = [group for group in members if group not in kept]
    groups_of = Counter(label for group in movable for label in members[group])
    count = min(count, max(groups_of.values(), default=0), len(movable))
    if count < 2:
        return {}
    totals = Counter(clip.label for clip in clips)
    held: list[Counter[str]] = [Counter() for _ in range(count)]
    fold_of: dict[str, int] = {}
    for group in sorted(movable, key=lambda group: (-members[group].total(), _rank(seed, group))):
        fold_of[group] = min(
            range(count),
            key=lambda fold: (
                sum(held[fold][label] / totals[label] for label in members[group]),
                held[fold].total(),
                fold,
            ),
        )
        held[fold_of[group]] += members[group]
    return {
        fold + 1: Fold(
            tuple(clip for clip in clips if fold_of.get(clip.group) != fold),
            tuple(clip for clip in clips if fold_of.get(clip.group) == fold),
        )
        for fold in range(count)
        if held[fold]
    }


def _rank(seed: int, group: str) -> bytes:
    # By a hash rather than a generator, so that folds do not depend on a library's version.
    return hashlib.sha256(f"{seed}/{group}".encode("utf-8", "surrogateescape")).digest()


def write_folds(folder: Path, dataset: Dataset) -> Path:
    """Write the lists of a data set into `folder`/split, whole or not at all; return the path.

    They are meta.csv and evaluation_setup/ of the TAU layout: copied into the folder of the recordings they make it a
    data set in that layout, with these folds. Pieces of one file share a line.

    Raises:
        EdgeAscError: the folder holds other lists.
        OutputError: it cannot be written.
    """
    path, texts = folder / SPLIT, _render(dataset)
    if path.exists():
        if any(not (path / name).is_file() or (path / name).read_bytes() != text for name, text in texts.items()):
            raise EdgeAscError(
                f"{path}: holds the folds of other clips, groups or another seed; choose another --output"
            )
        return path
    temporary = folder / make_name()
    try:
        for name, text in texts.items():
            write_bytes(temporary / name, text)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return path


def _render(dataset: Dataset) -> dict[str, bytes]:
    """Return the text of each list by its path."""
    files = {clip.filename: clip for clip in dataset.clips}.values()
    texts = {
        "meta.csv": _table(
            ("filename", "scene_label", "identifier"), ((clip.filename, clip.label, clip.group) for clip in files)
        )
    }
    for number, fold in dataset.folds.items():
        for part, clips in (("train", fold.train), ("evaluate", fold.evaluate)):
            rows = dict.fromkeys((clip.filename, clip.label) for clip in clips)
            texts[f"evaluation_setup/fold{number}_{part}.csv"] = _table(("filename", "scene_label"), rows)
    return texts


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")
