"""What the commands share: where they print, progress bars, and options."""

from __future__ import annotations

import json
import sys
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

log = Console(stderr=True, highlight=False)
# Tables keep their columns in a pipe or a file, where there is no terminal to fit into.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 180)


def progress(*columns: str) -> Progress:
    """A progress bar on stderr, with extra text columns."""
    texts = [TextColumn(column) for column in columns]
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        *texts,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=log,
        transient=True,
    )


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, indent=1, allow_nan=False))


LONGEST = 3600


class Lengths(click.ParamType):  # type: ignore[type-arg]
    """Seconds: "1-10", "1,2,5" or "3"."""

    name = "lengths"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The lengths in increasing order."""
        if isinstance(value, tuple):
            return value
        try:
            lengths: set[int] = set()
            for part in str(value).split(","):
                first, _, last = part.partition("-")
                low, high = int(first), int(last or first)
                if not 1 <= low <= high <= LONGEST:
                    self.fail(f"{part!r}: expected whole seconds from 1 to {LONGEST}, in increasing order", param, ctx)
                lengths |= set(range(low, high + 1))
        except ValueError:
            self.fail(f"{value!r}: expected seconds such as 1-10, 1,2,5 or 3", param, ctx)
        return tuple(sorted(lengths))


# More than any board has: the machine that runs a model need not be this one.
MOST_THREADS = 256
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
threads_option = click.option(
    "--threads", default=1, show_default=True, type=click.IntRange(1, MOST_THREADS), help="Threads."
)
