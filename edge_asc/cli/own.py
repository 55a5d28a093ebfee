"""Training on a folder of your own sounds: options, and what would be trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from edge_asc.cli.console import quote
from edge_asc.data.preparation import CLIP_SECONDS, FOLDS, Prepared
from edge_asc.text import count_noun
from edge_asc.zoo import START


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
