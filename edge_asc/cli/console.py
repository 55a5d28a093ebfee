"""Where the commands print: data to stdout, progress and notes to stderr; and the options that commands share."""

from __future__ import annotations

import json
import logging
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich import progress as bars
from rich.console import Console
from rich.text import Text

from edge_asc.errors import ContractError
from edge_asc.progress import Phase, Progress
from edge_asc.rule import DecisionRule, parse_rule
from edge_asc.text import escape_controls

# Width of tables in a pipe or a file, characters.
WIDTH = 180


class PlainConsole(Console):
    """A console that prints strings as they are: no markup in them, and nothing that acts on the terminal.

    FORCE_COLOR gives colours in a file, too, but no moving bars; NO_COLOR takes them away.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        stream = sys.stderr if stderr else sys.stdout
        terminal = stream is not None and stream.isatty()
        super().__init__(
            stderr=stderr,
            markup=False,
            emoji=False,
            highlight=False,
            soft_wrap=stderr,
            width=None if terminal else WIDTH,
            force_interactive=None if terminal else False,
        )

    def render_str(self, text: str, **options: Any) -> Text:
        """Return text to print; every string passes here, in cells and titles of tables, too."""
        return super().render_str(escape_controls(text, keep="\n"), **options)

    def on_broken_pipe(self) -> None:
        """Pass on that nobody reads the output; notes that nobody reads are no reason to end."""
        if not self.stderr:
            raise BrokenPipeError
        self.quiet = True


log = PlainConsole(stderr=True)
out = PlainConsole()


def echo(text: str, *, newline: bool = True) -> None:
    """Print text on stdout; line ends in it stay, what would act on the terminal is escaped."""
    click.echo(escape_controls(text, keep="\n"), nl=newline)


def quote(path: Path) -> str:
    """Return a path as a shell reads it."""
    return shlex.quote(escape_controls(str(path)))


# Between two lines of a phase where stderr is not a terminal, s.
LINE_PERIOD = 10.0


class ConsoleProgress(Progress):
    """Progress on stderr: a bar for each phase in a terminal, plain lines elsewhere, nothing with --quiet.

    Titles, notes and the names of figures are plain text; nothing in them is read as markup.
    """

    def __init__(self, console: Console = log) -> None:
        self._console = console
        self._bars: bars.Progress | None = None
        self._open = 0

    @contextmanager
    def phase(self, title: str, total: float | None = None) -> Iterator[Phase]:
        """Show a phase until the `with` block ends; phases may overlap."""
        if self._console.quiet:
            yield Phase()
        elif not self._console.is_interactive:
            yield _Lines(self._console, title, total)
        else:
            yield from self._draw(title, total)

    def note(self, text: str) -> None:
        """Print one line, above the bars where there are any."""
        self._console.print(_plain(text), soft_wrap=True)

    def _draw(self, title: str, total: float | None) -> Iterator[Phase]:
        if self._bars is None:
            self._bars = _make_bars(self._console)
            self._bars.start()
        display = self._bars
        task = display.add_task(title, total=total, figures={})
        self._open += 1
        try:
            yield _Bar(display, task)
        finally:
            display.refresh()  # the last state, which may be newer than the last regular refresh
            display.remove_task(task)
            self._open -= 1
            if not self._open:
                display.stop()
                self._bars = None


class _Bar(Phase):
    """A phase as one bar of a display."""

    def __init__(self, display: bars.Progress, task: bars.TaskID) -> None:
        self._display, self._task = display, task
        self._figures: dict[str, float] = {}

    def advance(self, count: float = 1, **figures: float) -> None:
        """Move the bar on by `count` units of work, and show the latest figures beside it."""
        self._figures |= figures
        self._display.update(self._task, advance=count, figures=self._figures)

    def update(self, done: float, total: float | None = None, title: str = "") -> None:
        """Move the bar to `done` units of work."""
        self._display.update(self._task, completed=done, total=total, description=title or None)


class _Lines(Phase):
    """A phase as lines: one at its start, and one every LINE_PERIOD seconds while it goes on."""

    def __init__(self, console: Console, title: str, total: float | None) -> None:
        self._console, self._title, self._total = console, title, total
        self._done = 0.0
        self._figures: dict[str, float] = {}
        self._print()

    def advance(self, count: float = 1, **figures: float) -> None:
        """Count `count` units of work, and print a line if the last one is old enough."""
        self._done += count
        self._figures |= figures
        self._print_if_due()

    def update(self, done: float, total: float | None = None, title: str = "") -> None:
        """Set the work that is done; a new title is a line of its own."""
        self._done, self._total = done, self._total if total is None else total
        if title and title != self._title:
            self._title = title
            self._print()
        else:
            self._print_if_due()

    def _print_if_due(self) -> None:
        if time.monotonic() - self._printed >= LINE_PERIOD:
            self._print()

    def _print(self) -> None:
        self._printed = time.monotonic()
        parts = [self._title]
        if self._done:
            parts.append(f"{self._done:g}" + (f" of {self._total:g}" if self._total is not None else ""))
        if self._figures:
            parts.append(_format_figures(self._figures))
        self._console.print(_plain(": ".join(parts)), soft_wrap=True)


class _FigureColumn(bars.ProgressColumn):
    """The figures of a phase, as plain text."""

    def render(self, task: bars.Task) -> Text:
        return _plain(_format_figures(task.fields["figures"]))


class _TitleColumn(bars.ProgressColumn):
    """The title of a phase, as plain text."""

    def render(self, task: bars.Task) -> Text:
        return _plain(task.description)


def _plain(text: str) -> Text:
    return Text(escape_controls(text))


def _format_figures(figures: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in figures.items())


def _make_bars(console: Console) -> bars.Progress:
    return bars.Progress(
        bars.SpinnerColumn(),
        _TitleColumn(),
        bars.BarColumn(),
        _FigureColumn(),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def print_json(value: object) -> None:
    """Print one JSON document on stdout."""
    click.echo(json.dumps(value, indent=1, allow_nan=False))


LONGEST = 3600


class Lengths(click.ParamType):  # type: ignore[type-arg]
    """Lengths in seconds, such as "1-10", "1,2,5" or "3"."""

    name = "lengths"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the lengths in increasing order."""
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


class Rule(click.ParamType):  # type: ignore[type-arg]
    """A decision rule, such as "mean" or "forgetting:2"."""

    name = "rule"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> DecisionRule:
        """Return the rule."""
        try:
            return value if isinstance(value, DecisionRule) else parse_rule(str(value))
        except ContractError as error:
            self.fail(str(error), param, ctx)


# More than any board has; the machine that runs a model may be another one.
MOST_THREADS = 256
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
threads_option = click.option(
    "--threads", default=1, show_default=True, type=click.IntRange(1, MOST_THREADS), help="CPU threads."
)


def _set_quiet(_: click.Context, __: click.Parameter, quiet: bool) -> None:
    log.quiet = quiet
    logging.getLogger("edge_asc").setLevel(logging.ERROR if quiet else logging.NOTSET)


quiet_option = click.option(
    "-q",
    "--quiet",
    is_flag=True,
    expose_value=False,
    callback=_set_quiet,
    help="Print no progress and no notes on stderr; errors are still printed.",
)
