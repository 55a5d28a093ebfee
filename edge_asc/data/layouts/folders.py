"""A folder for each class: the name of the folder is the label of all sound files in it.

The folders may lie in another one, such as audio/, or in train/ and test/, which are a fold then. Where a class has
several folders below it, each of them is a group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from edge_asc.data.dataset import Clip, Dataset, Layout
from edge_asc.data.folder import Folder
from edge_asc.data.labels import SPLITS, TRAINING, read_label
from edge_asc.data.listing import make_split_fold
from edge_asc.errors import DatasetError

TOP = PurePosixPath()
# Folders that hold those of the classes.
WRAPPERS = frozenset({"audio", "audios", "clips", "data", "dataset", "recordings", "samples", "sounds", "wav", "wavs"})


def read(root: Path) -> Dataset | None:
    """Read the sound files of each folder; None where there are neither folders nor sound files.

    Raises:
        DatasetError: there are no sound files, or they lie in one folder without labels.
    """
    folder = Folder.scan(root)
    if not folder.folders and not folder.sounds and not folder.archives:
        return None
    folder.check_sounds(root)
    top = _find_top(folder)
    splits = _find_splits(folder, top)
    classes = {child: split for split in splits or [top] for child in _children(folder, split)}
    if not any(folder.within(child) for child in classes):
        raise DatasetError(
            f"{root}: its {len(folder.sounds)} sound files lie in one folder, without labels; expected a folder for "
            "each class, such as dog/ and cat/, or a table with their labels"
        )
    clips = [clip for child in classes for clip in _read_class(folder, child)]
    parts = {clip.filename: PurePosixPath(clip.filename).relative_to(top).parts[0].casefold() for clip in clips}
    known = {clip.filename for clip in clips}
    notes = folder.describe_archives()
    if beside := [str(path) for path in folder.sounds if str(path) not in known]:
        notes.append(
            f"{len(beside)} sound files beside the folders of the classes are left out, such as {beside[0]}: move them "
            "into the folder of their class"
        )
    return Dataset(
        name=root.resolve().name,
        root=root,
        labels=tuple(sorted({clip.label for clip in clips})),
        clips=tuple(clips),
        folds=make_split_fold(clips, parts) if splits else {},
        problems=tuple(_find_empty(folder, list(classes), is_split=bool(splits))),
        notes=tuple(notes),
    )


def _children(folder: Folder, parent: PurePosixPath) -> list[PurePosixPath]:
    return [path for path in folder.folders if path.parent == parent]


def _find_top(folder: Folder) -> PurePosixPath:
    """Return the folder that holds those of the classes, or of the parts of a split."""
    top = TOP
    while True:
        filled = [child for child in _children(folder, top) if folder.within(child)]
        if len(filled) != 1 or any(path.parent in (top, filled[0]) for path in folder.sounds):
            return top
        (only,) = filled
        if only.name.casefold() not in WRAPPERS | TRAINING:
            return top
        top = only


def _find_splits(folder: Folder, top: PurePosixPath) -> list[PurePosixPath]:
    """Return the folders of a split, such as train/ and test/; none where the folders are those of classes."""
    filled = [child for child in _children(folder, top) if folder.within(child)]
    names = {child.name.casefold() for child in filled}
    flat = any(path.parent in filled for path in folder.sounds)
    return filled if len(filled) > 1 and names <= SPLITS and names & TRAINING and not flat else []


def _read_class(folder: Folder, child: PurePosixPath) -> Iterator[Clip]:
    """Yield the clips of a class."""
    sounds = folder.within(child)
    sessions: dict[PurePosixPath, str] = defaultdict(str)
    depth = len(child.parts)
    below = {path.parts[depth] for path in sounds if len(path.parts) > depth + 1}
    if len(below) > 1:
        sessions |= {path: str(child / path.parts[depth]) for path in sounds if len(path.parts) > depth + 1}
    for path in sounds:
        yield Clip(str(path), read_label(child.name), sessions[path] or str(path.with_suffix("")))


def _find_empty(folder: Folder, classes: list[PurePosixPath], *, is_split: bool) -> Iterator[str]:
    """Yield a sentence for each class without a sound file; that of a split has some in another part."""
    filled = {read_label(child.name) for child in classes if folder.within(child)}
    for child in classes:
        if folder.within(child) or (is_split and read_label(child.name) in filled):
            continue
        if not any(child == path or child in path.parents for path in folder.trained):
            yield f"{child}/: holds no sound file; expected recordings of {child.name}: add some, or remove the folder"


LAYOUT = Layout(
    name="folders",
    title="A folder for each class",
    expects="a folder of sound files for each class, whose name is the label, such as dog/ and cat/",
    read=read,
    precedence=90,
)
