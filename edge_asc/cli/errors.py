"""Errors of a model on labelled clips, for a terminal: confusions, wrong clips, clips whose label may be wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge_asc.cli.console import echo, quote
from edge_asc.text import count_noun

if TYPE_CHECKING:
    from rich.table import Table

    from edge_asc.evaluation.confusions import Confusions
    from edge_asc.evaluation.predictions import Prediction, Predictions

# Confusions and suspicious clips that are printed.
SHOWN = 5
# The page about the errors of a training, in its folder.
PAGE = "errors.html"


def print_confusions(confusions: Confusions) -> None:
    """Print the share of right decisions at the end of each clip, and the largest confusions."""
    echo(f"at the end of each clip, {confusions.right} of {confusions.clips} are right")
    largest = confusions.largest()
    for each in largest[:SHOWN]:
        echo(f"  {each.label} taken for {each.decided}: {each.count} of {each.clips}")
    if len(largest) > SHOWN:
        echo(f"  and {sum(each.count for each in largest[SHOWN:])} others")


def print_suspicious(predictions: Predictions) -> None:
    """Print the clips whose label is most likely wrong."""
    suspicious = predictions.suspicious
    if not suspicious:
        return
    clips = count_noun(len(suspicious), "clip")
    echo(f"{clips} of {predictions.confusions.clips} may have a wrong label; listen to them:")
    for each in suspicious[:SHOWN]:
        echo(f"  {describe_clip(each)}: labelled {each.label}, sounds like {each.decided} ({each.confidence:.0%})")
    if len(suspicious) > SHOWN:
        echo(f"  and {len(suspicious) - SHOWN} more")


def describe_page(folder: Path) -> str:
    """Return the command that writes the page about the errors of a training in `folder`."""
    return f"edge-asc report {quote(folder)} --output {quote(folder / PAGE)} --embed-audio"


def class_table(predictions: Predictions) -> Table:
    """Return a table of recall and precision, %, with a row for each label that occurs."""
    from rich.table import Table

    table = Table(title=f"Classes at the end of each clip: {predictions.model}")
    table.add_column("label")
    for column in ("clips", "right", "recall, %", "decided", "precision, %"):
        table.add_column(column, justify="right")
    for each in predictions.confusions.occurring().by_class():
        recall, precision = (_percent(share) for share in (each.recall, each.precision))
        table.add_row(each.label, str(each.clips), str(each.right), recall, str(each.decided), precision)
    return table


def print_wrong(predictions: Predictions, shown: int) -> None:
    """Print wrong decisions with their likeliest labels, the greatest doubt first."""
    wrong = predictions.wrong
    count = predictions.confusions.clips - predictions.confusions.right
    if not count or not shown:
        return
    echo(f"wrong at the end of the clip, the most confident ones first ({predictions.model}):")
    for each in wrong[:shown]:
        echo(f"  {describe_clip(each)}: labelled {each.label}, decided {', '.join(_describe_labels(each))}")
    if count > shown:
        echo(f"  and {count - shown} more: a page shows them (edge-asc report, with the output of --json)")


def describe_clip(clip: Prediction) -> str:
    """Return the file of a clip, and which piece of it, such as "dog/1.wav from 5 s"."""
    return f"{clip.file} from {clip.start:g} s" if clip.start or clip.end is not None else clip.file


def _describe_labels(clip: Prediction) -> Iterator[str]:
    for label, share in clip.probabilities.items():
        yield f"{label} {share:.0%}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"
