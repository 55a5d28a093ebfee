"""Training on a folder of your own sounds: options and preparation."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_asc.cli.console import ConsoleProgress, quote
from edge_asc.data.dataset import Dataset
from edge_asc.data.preparation import CLIP_SECONDS, FOLDS, Prepared, Settings, prepare, read_features
from edge_asc.progress import SILENT, Progress
from edge_asc.text import count_noun

if TYPE_CHECKING:
    from edge_asc.frontend import FrontEnd

# The pretrained model that gets a new last layer.
START = "fuse-50"


def own_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of the commands that prepare data which are not in TAU layout."""
    for option in (
        click.option(
            "--skip-unreadable", is_flag=True, help="Leave out files that cannot be read, instead of listing them."
        ),
        click.option(
            "--clip-seconds",
            type=click.FloatRange(1.0, 60.0),
            default=CLIP_SECONDS,
            show_default=True,
            help="Cut recordings of more than twice this length into clips of it.",
        ),
        click.option(
            "--folds",
            type=click.IntRange(2, 20),
            default=FOLDS,
            show_default=True,
            help="Folds to make where DATA has none.",
        ),
        click.option(
            "--group",
            default="",
            metavar="COLUMN",
            help="What belongs to one recording: a column of the table of labels; file, each file; name, files whose "
            "names are equal up to the last number [default: what DATA shows].",
        ),
    ):
        function = option(function)
    return function


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
    note_warnings(prepared.warnings, progress)
    prepared.check()
    return prepared


def prepare_own(dataset: Dataset, settings: Settings, output: Path | None, front_end: FrontEnd) -> Prepared:
    """Prepare a data set, compute all features, and write the folds.

    Args:
        dataset: not in TAU layout.
        settings: how it is prepared.
        output: folder of the model, beside which the folds are written; None writes and prints nothing.
        front_end: of the model.

    Raises:
        DatasetError: the data set cannot be trained on.
        OutputError: the folds cannot be written.
    """
    from edge_asc.data.cache import FeatureCache, default_cache
    from edge_asc.data.folds import write_folds

    progress = SILENT if output is None else ConsoleProgress()
    prepared = prepare_checked(dataset, settings, progress)
    known = len(prepared.warnings)
    prepared = read_features(prepared, FeatureCache(default_cache(), front_end), skip=settings.skip, progress=progress)
    note_warnings(prepared.warnings[known:], progress)
    if output is not None:
        if prepared.dataset.folds:
            write_folds(output, prepared.dataset)
        else:
            progress.note("warning: nothing can be held out, so the accuracy of this model will not be known")
    return prepared


def describe(prepared: Prepared) -> str:
    """Return a line on a data set: layout, clips, length."""
    from edge_asc.data.dataset import list_layouts

    dataset = prepared.dataset
    titles = {layout.name: layout.title for layout in list_layouts()}
    files, clips = len(dataset.by_filename), len(dataset.clips)
    minutes = sum(prepared.seconds(clip) for clip in dataset.clips) / 60.0
    groups = len({clip.group for clip in dataset.clips})
    return (
        f"{dataset.name}: {titles.get(dataset.layout, dataset.layout)}; {len(dataset.labels)} classes, {files} files, "
        f"{clips} clips, {minutes:.1f} min, {groups} recordings or groups"
    )


def describe_plan(prepared: Prepared) -> str:
    """Return a line on what `edge-asc train` does with data that are not in TAU layout."""
    dataset = prepared.dataset
    folds = len(dataset.folds)
    if prepared.is_cross_validated:
        judged = f"cross-validated over {folds} folds, then trained on all {len(dataset.clips)} clips"
    elif folds:
        fold = next(iter(dataset.folds.values()))
        trained, others = count_noun(len(fold.train), "clip"), count_noun(len(fold.evaluate), "other")
        judged = f"trained on {trained} and judged by {others}"
    else:
        judged = f"trained on all {len(dataset.clips)} clips, without a held-out accuracy"
    return f"edge-asc train {quote(dataset.root)}: the pretrained {START} with a new last layer, {judged}"


def note_warnings(warnings: tuple[str, ...], progress: Progress) -> None:
    """Note each warning."""
    for warning in warnings:
        progress.note(f"warning: {warning}")
