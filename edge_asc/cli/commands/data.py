"""`edge-asc data`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_asc.cli.console import ConsoleProgress, echo, json_option, out, print_json, quiet_option
from edge_asc.cli.own import describe, describe_plan, own_options
from edge_asc.data.dataset import Clip, Dataset
from edge_asc.data.preparation import TAU, Prepared, Settings, prepare
from edge_asc.text import count_noun

if TYPE_CHECKING:
    from edge_asc.jsonobject import JsonValue

# 1: first version.
SCHEMA_VERSION = 1


@click.command("data", short_help="Show what is understood of a folder of recordings.")
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@own_options
@quiet_option
@json_option
def command(data: Path, group: str, folds: int, clip_seconds: float, skip_unreadable: bool, as_json: bool) -> None:
    """Show layout, classes, lengths, groups, folds and sample rates of DATA, what is wrong, and what would be trained.

    Only headers are read where they state the length. The exit code is 2 where DATA cannot be trained on.
    """
    settings = Settings(clip_seconds, folds, group=group, skip=skip_unreadable)
    prepared = prepare(Dataset.open(data), settings, ConsoleProgress())
    if as_json:
        print_json(to_json(prepared))
    else:
        _print(prepared)
    prepared.check()


@dataclass(frozen=True)
class ClassRow:
    """The clips of one class.

    Attributes:
        label: its name.
        files, clips, groups: their numbers.
        seconds: of all clips.
        shortest, longest: clip, s.
    """

    label: str
    files: int
    clips: int
    groups: int
    seconds: float
    shortest: float
    longest: float

    @classmethod
    def of(cls, prepared: Prepared, label: str) -> ClassRow:
        """Sum up the clips of a label."""
        clips: list[Clip] = [clip for clip in prepared.dataset.clips if clip.label == label]
        lengths = [prepared.seconds(clip) for clip in clips]
        files, groups = ({clip.filename for clip in clips}, {clip.group for clip in clips})
        return cls(label, len(files), len(clips), len(groups), sum(lengths), min(lengths), max(lengths))


def to_json(prepared: Prepared) -> dict[str, JsonValue]:
    """Return the document that `--json` prints."""
    dataset = prepared.dataset
    return {
        "kind": "data",
        "schema_version": SCHEMA_VERSION,
        "name": dataset.name,
        "layout": dataset.layout,
        "classes": [
            {
                "label": row.label,
                "files": row.files,
                "clips": row.clips,
                "groups": row.groups,
                "seconds": round(row.seconds, 3),
                "shortest": round(row.shortest, 3),
                "longest": round(row.longest, 3),
            }
            for row in _rows(prepared)
        ],
        "folds": {
            str(number): {"train": len(fold.train), "evaluate": len(fold.evaluate)}
            for number, fold in dataset.folds.items()
        },
        "sample_rates": {str(rate): count for rate, count in _count_rates(prepared)},
        "problems": list(prepared.problems),
        "warnings": list(prepared.warnings),
        "plan": "" if dataset.layout == TAU else describe_plan(prepared),
    }


def _rows(prepared: Prepared) -> list[ClassRow]:
    return [ClassRow.of(prepared, label) for label in _labels(prepared)]


def _labels(prepared: Prepared) -> list[str]:
    present = {clip.label for clip in prepared.dataset.clips}
    return [label for label in prepared.dataset.labels if label in present]


def _count_rates(prepared: Prepared) -> list[tuple[int, int]]:
    """The number of files of each sample rate, Hz, ascending."""
    used = prepared.dataset.by_filename
    return sorted(Counter(measures.rate for name, measures in prepared.measures.items() if name in used).items())


def _print(prepared: Prepared) -> None:
    from rich.table import Table

    dataset = prepared.dataset
    echo(describe(prepared))
    table = Table()
    table.add_column("class")
    for column in ("files", "clips", "seconds", "shortest", "longest", "groups"):
        table.add_column(column, justify="right")
    for row in _rows(prepared):
        lengths = (f"{value:.1f}" for value in (row.seconds, row.shortest, row.longest))
        table.add_row(row.label, str(row.files), str(row.clips), *lengths, str(row.groups))
    out.print(table)
    rates = [f"{rate} Hz ({count_noun(count, 'file')})" for rate, count in _count_rates(prepared)]
    echo(f"sample rates: {', '.join(rates)}")
    sizes = {number: count_noun(len(fold.evaluate), "clip") for number, fold in dataset.folds.items()}
    held_out = ", ".join(f"{number} ({size})" for number, size in sizes.items())
    echo(f"folds, with the clips that each holds out: {held_out or 'none'}")
    for warning in prepared.warnings:
        echo(f"warning: {warning}")
    if not prepared.problems and dataset.layout != TAU:
        echo(describe_plan(prepared))
