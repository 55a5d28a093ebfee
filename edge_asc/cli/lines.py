"""Events on stdout: lines for people, JSON lines for programs."""

from __future__ import annotations

import json
from collections.abc import Callable

import click
from rich.live import Live
from rich.text import Text

from edge_asc.cli.console import echo, log, out
from edge_asc.detection.event import SoundEvent
from edge_asc.listening.sink import Change, Moment, Sink
from edge_asc.text import escape_controls

# Decibels of the meter's left end, and its width, characters.
METER_START, METER_WIDTH = -80.0, 24


class JsonLines(Sink):
    """Prints each change as one JSON object a line."""

    def receive(self, change: Change) -> None:
        """Print a change."""
        click.echo(json.dumps(change.to_json(), allow_nan=False))

    def note(self, source: str, text: str) -> None:
        """Print a remark on stderr."""
        log.print(escape_controls(f"{source}: {text}"))


class Lines(Sink):
    """Prints lines for people; in a terminal, the current decision and the level stand below them.

    Args:
        is_live: events are printed when they start and when they end, with the time of day; else when they end, in a
            terminal above the bar of the progress.
    """

    def __init__(self, *, is_live: bool) -> None:
        self._is_live = is_live
        self._view: Live | None = None
        if is_live and out.is_terminal:
            # Where stderr goes elsewhere, it stays there.
            self._view = Live(console=out, transient=True, auto_refresh=False, redirect_stderr=log.is_terminal)
            self._view.start()

    def observe(self, moment: Moment) -> None:
        """Show the decision and the level in a terminal."""
        if self._view is not None:
            self._view.update(Text(format_moment(moment)), refresh=True)

    def receive(self, change: Change) -> None:
        """Print an event."""
        event = change.event
        if not self._is_live:
            if event.end is not None:
                self._print(f"{change.source}  {describe_event(event, format_seconds)}")
            return
        clock = f"{event.began:%Y-%m-%d %H:%M:%S}" if event.began else format_seconds(event.start)
        if event.end is None:
            self._print(f"{clock}  {event.label} ({event.peak:.0%})")
        else:
            self._print(f"{clock}  {event.label} ended after {event.duration:.1f} s (peak {event.peak:.0%})")

    def note(self, source: str, text: str) -> None:
        """Print a remark on stderr, above the view where there is one."""
        console = out if self._view is not None and log.is_terminal and not log.quiet else log
        console.print(escape_controls(f"{source}: {text}"))

    def close(self) -> None:
        """Remove what stands below the lines."""
        if self._view is not None:
            self._view.stop()
            self._view = None

    def _print(self, line: str) -> None:
        if self._view is not None:
            out.print(escape_controls(line), soft_wrap=True)
        elif not self._is_live and out.is_terminal and log.is_interactive and not log.quiet:
            log.print(escape_controls(line), soft_wrap=True)
        else:
            echo(escape_controls(line))


def format_moment(moment: Moment) -> str:
    """Return one line: a meter, the level, and the decision."""
    filled = round(METER_WIDTH * max(0.0, min(1.0, 1.0 - moment.level / METER_START)))
    meter = "▮" * filled + "▯" * (METER_WIDTH - filled)
    level = f"{moment.level:6.1f} dBFS" if moment.level > METER_START else " silence   "
    decision = moment.decision
    return escape_controls(f"{meter} {level}  {decision.answer} {decision.confidence:.0%}")


def describe_event(event: SoundEvent, clock: Callable[[float], str]) -> str:
    """Return one line for an event that has ended."""
    assert event.end is not None
    return (
        f"{clock(event.start)} - {clock(event.end)}  {event.label:<20} {event.end - event.start:7.1f} s"
        f"  peak {event.peak:4.0%}  mean {event.mean:4.0%}"
    )


def format_seconds(seconds: float) -> str:
    """Return a time from the start of a recording, such as 0:01:02.3."""
    tenths = round(10.0 * seconds)
    return f"{tenths // 36000}:{tenths // 600 % 60:02}:{tenths // 10 % 60:02}.{tenths % 10}"
