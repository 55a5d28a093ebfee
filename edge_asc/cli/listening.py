"""Live listening from the command line: sources, lines on stdout, the journal."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click
from rich.live import Live
from rich.text import Text

from edge_asc.audio.pcm import PcmFormat, raw_format
from edge_asc.cli.console import echo, log, out
from edge_asc.detection.event import SoundEvent
from edge_asc.listening.journal import Journal
from edge_asc.listening.sink import Change, Moment, Sink
from edge_asc.text import escape_controls

# Decibels of the meter's left end, and its width, characters.
METER_START, METER_WIDTH = -80.0, 24


def parse_raw(raw: str | None, rate: int | None, channels: int | None) -> PcmFormat | None:
    """Return how samples without a header stand in a recording, None for a recording with a header.

    Raises:
        click.UsageError: options that belong together are not all there.
    """
    if raw is None:
        if rate is not None or channels is not None:
            raise click.UsageError("--rate and --channels belong to --format; other recordings have a header")
        return None
    if rate is None:
        raise click.UsageError("--format needs --rate: samples without a header do not say their rate")
    return raw_format(raw, rate, channels or 1)


def parse_device(device: str | None) -> int | str | None:
    """Return the number of a microphone, or a part of its name."""
    return int(device) if device is not None and device.isdecimal() else device


def open_sinks(stack: ExitStack, journal: Path | None, *, as_json: bool, is_live: bool) -> list[Sink]:
    """Return the sinks that a command line asks for; `stack` closes them."""
    sinks: list[Sink] = [JsonLines() if as_json else Lines(is_live=is_live)]
    if journal is not None:
        sinks.append(Journal(journal))
    for sink in sinks:
        stack.callback(sink.close)
    return sinks


class JsonLines(Sink):
    """Prints each change as one JSON object a line."""

    def receive(self, change: Change) -> None:
        """Print a change."""
        click.echo(json.dumps(change.to_json(), allow_nan=False))

    def note(self, source: str, text: str) -> None:
        """Print a remark on stderr."""
        log.print(Text(f"{source}: {text}"))


class Lines(Sink):
    """Prints lines for people; in a terminal, the current decision and the level stand below them.

    Args:
        is_live: events are printed when they start and when they end, with the time of day; else when they end.
    """

    def __init__(self, *, is_live: bool) -> None:
        self._is_live = is_live
        self._view = Live(console=out, transient=True, auto_refresh=False) if is_live and out.is_terminal else None
        if self._view is not None:
            self._view.start()

    def observe(self, moment: Moment) -> None:
        """Show the decision and the level in a terminal."""
        if self._view is not None:
            decision = moment.decision
            filled = round(METER_WIDTH * max(0.0, min(1.0, 1.0 - moment.level / METER_START)))
            meter = "▮" * filled + "▯" * (METER_WIDTH - filled)
            level = f"{moment.level:6.1f} dBFS" if moment.level > METER_START else " silence   "
            self._view.update(Text(f"{meter} {level}  {decision.answer} {decision.confidence:.0%}"), refresh=True)

    def receive(self, change: Change) -> None:
        """Print an event."""
        event = change.event
        if not self._is_live:
            if event.end is not None:
                self._print(f"{escape_controls(change.source)}  {describe_event(event, format_seconds)}")
            return
        clock = f"{event.began:%Y-%m-%d %H:%M:%S}" if event.began else format_seconds(event.start)
        if event.end is None:
            self._print(f"{clock}  {event.label} ({event.peak:.0%})")
        else:
            self._print(f"{clock}  {event.label} ended after {event.duration:.1f} s (peak {event.peak:.0%})")

    def note(self, source: str, text: str) -> None:
        """Print a remark on stderr."""
        log.print(Text(f"{source}: {text}"))

    def close(self) -> None:
        """Remove what stands below the lines."""
        if self._view is not None:
            self._view.stop()

    def _print(self, line: str) -> None:
        if self._view is not None:
            out.print(line)
        else:
            echo(line)


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
