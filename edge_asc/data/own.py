"""A folder of your own sounds, made ready for training: what is understood, what is doubtful, features and folds."""

from __future__ import annotations

import re
from pathlib import Path

from edge_asc.data.cache import FeatureCache, default_cache
from edge_asc.data.dataset import Dataset, list_layouts
from edge_asc.data.folds import write_folds
from edge_asc.data.preparation import Prepared, Settings, prepare, read_features
from edge_asc.frontend import FrontEnd
from edge_asc.progress import SILENT, Progress


def name_model(dataset: Dataset, otherwise: str) -> str:
    """Return the name of a model for a data set: that of its folder, with the characters that file names may have.

    Args:
        dataset: the data set.
        otherwise: the name where none of them are left.
    """
    return re.sub(r"[^\w.-]+", "-", dataset.name).strip("-.") or otherwise


def prepare_checked(dataset: Dataset, settings: Settings, progress: Progress) -> Prepared:
    """Prepare a data set, say what was understood and what is doubtful, and check it.

    Args:
        dataset: the data set.
        settings: how it is prepared.
        progress: gets the notes.

    Raises:
        DatasetError: the data set cannot be trained on.
    """
    prepared = prepare(dataset, settings, progress)
    progress.note(describe(prepared))
    _note_warnings(prepared.warnings, progress)
    prepared.check()
    return prepared


def prepare_own(
    dataset: Dataset, settings: Settings, output: Path | None, front_end: FrontEnd, progress: Progress = SILENT
) -> Prepared:
    """Prepare a data set, compute all features, and write the folds.

    Args:
        dataset: not in TAU layout.
        settings: how it is prepared.
        output: folder of the model, beside which the folds are written; None writes nothing.
        front_end: of the model.
        progress: gets the notes, and a phase for the features.

    Raises:
        DatasetError: the data set cannot be trained on.
        OutputError: the folds cannot be written.
    """
    prepared = prepare_checked(dataset, settings, progress)
    known = len(prepared.warnings)
    prepared = read_features(prepared, FeatureCache(default_cache(), front_end), skip=settings.skip, progress=progress)
    _note_warnings(prepared.warnings[known:], progress)
    if not prepared.dataset.folds:
        progress.note("warning: nothing can be held out, so the accuracy of this model will not be known")
    elif output is not None:
        write_folds(output, prepared.dataset)
    return prepared


def describe(prepared: Prepared) -> str:
    """Return a line on a data set: layout, clips, length."""
    dataset = prepared.dataset
    titles = {layout.name: layout.title for layout in list_layouts()}
    files, clips = len(dataset.by_filename), len(dataset.clips)
    minutes = sum(prepared.seconds(clip) for clip in dataset.clips) / 60.0
    groups = len({clip.group for clip in dataset.clips})
    return (
        f"{dataset.name}: {titles.get(dataset.layout, dataset.layout)}; {len(dataset.labels)} classes, {files} files, "
        f"{clips} clips, {minutes:.1f} min, {groups} recordings or groups"
    )


def _note_warnings(warnings: tuple[str, ...], progress: Progress) -> None:
    for warning in warnings:
        progress.note(f"warning: {warning}")
