"""Progress on a console: bars in a terminal, lines elsewhere, nothing where it is quiet."""

from __future__ import annotations

import io

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from edge_asc.cli import console
from edge_asc.cli.console import ConsoleProgress, quiet_option


def make(terminal: bool, quiet: bool = False) -> tuple[ConsoleProgress, io.StringIO]:
    stream = io.StringIO()
    display = Console(file=stream, force_terminal=terminal, width=100, highlight=False, quiet=quiet)
    return ConsoleProgress(display), stream


@pytest.mark.parametrize("terminal", [True, False])
def test_shows_titles_and_figures_as_plain_text(terminal: bool) -> None:
    progress, stream = make(terminal)
    with progress.phase("[red]mine[/red]", total=4) as phase:
        phase.advance(2, loss=0.25)
        phase.update(3, title="[1/2] theirs")
        progress.note("note [of] a user")
    shown = stream.getvalue()
    for text in ("[red]mine[/red]", "[1/2] theirs", "loss 0.25", "note [of] a user"):
        assert text in shown


def test_where_there_is_no_terminal_lines_come_at_the_start_and_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    progress, stream = make(terminal=False)
    for _ in progress.track(range(1000), "Counting"):
        pass
    assert stream.getvalue() == "Counting\n"
    monkeypatch.setattr(console, "LINE_PERIOD", 0.0)
    for _ in progress.track(range(2), "Counting again"):
        pass
    assert stream.getvalue().splitlines()[1:] == [
        "Counting again",
        "Counting again: 1 of 2",
        "Counting again: 2 of 2",
    ]


def test_phases_may_overlap_and_bars_leave_nothing_behind() -> None:
    progress, stream = make(terminal=True)
    with progress.phase("outer", total=1) as outer, progress.phase("inner") as inner:
        inner.advance()
        outer.advance()
        progress.note("between")
    for text in ("outer", "inner", "between"):
        assert text in stream.getvalue()
    assert progress._bars is None
    with pytest.raises(ValueError, match="mine"), progress.phase("failing"):
        raise ValueError("mine")
    assert progress._bars is None


@pytest.mark.parametrize("terminal", [True, False])
def test_a_quiet_console_shows_nothing(terminal: bool) -> None:
    progress, stream = make(terminal, quiet=True)
    with progress.phase("phase", total=2) as phase:
        phase.advance(loss=1.0)
    progress.note("note")
    assert stream.getvalue() == ""


def test_quiet_holds_for_one_command_only() -> None:
    @click.command()
    @quiet_option
    def command() -> None:
        ConsoleProgress().note("here")
        click.echo(console.log.quiet)

    assert CliRunner().invoke(command, ["--quiet"]).stdout == "True\n"
    assert CliRunner().invoke(command, []).stdout == "False\n"
