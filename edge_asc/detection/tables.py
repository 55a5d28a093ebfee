"""Tables of events, as other programs read them: CSV, labels of Audacity, selections of Raven."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from edge_asc.detection.event import SoundEvent
from edge_asc.text import escape_controls

Table = Callable[[Iterable[SoundEvent]], str]
CSV_COLUMNS = ("source", "label", "start", "end", "duration", "peak", "mean", "time")
# A spreadsheet takes a cell that starts so for a formula.
FORMULA = ("=", "+", "-", "@")


@dataclass(frozen=True)
class TableFormat:
    """A format with one file for each recording.

    Attributes:
        suffix: of the file's name.
        write: returns the text of the file for the events of one recording, by their start.
    """

    suffix: str
    write: Table


def format_csv(events: Sequence[tuple[str, SoundEvent]], *, header: bool = True) -> str:
    """Return a CSV of events that have ended, each with the name of its source.

    Times are seconds from the start of the source, `time` is the time of day where it is known.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(CSV_COLUMNS)
    for source, event in events:
        began = "" if event.began is None else event.began.isoformat(timespec="milliseconds")
        numbers = [f"{x:.3f}" for x in (event.start, event.end or 0.0, event.duration or 0.0)]
        shares = [f"{x:.4f}" for x in (event.peak, event.mean)]
        writer.writerow([_cell(source), _cell(event.label), *numbers, *shares, began])
    return text.getvalue()


def format_audacity(events: Iterable[SoundEvent]) -> str:
    """Return a label track of Audacity: start, end and label, separated by tabs."""
    return "".join(f"{e.start:.6f}\t{e.end:.6f}\t{escape_controls(e.label)}\n" for e in events)


def format_raven(events: Iterable[SoundEvent], highest: float = 8000.0) -> str:
    """Return a selection table of Raven Pro.

    Args:
        events: that have ended.
        highest: upper edge of the selections, Hz; the models hear up to 8 kHz.
    """
    columns = ("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)")
    lines = ["\t".join((*columns, "Label", "Score"))]
    for number, e in enumerate(events, 1):
        cells = (number, "Spectrogram 1", 1, f"{e.start:.3f}", f"{e.end:.3f}", "0.0", f"{highest:.1f}")
        lines.append("\t".join(map(str, (*cells, escape_controls(e.label), f"{e.peak:.4f}"))))
    return "\n".join(lines) + "\n"


FORMATS: Mapping[str, TableFormat] = {
    "audacity": TableFormat(".txt", format_audacity),
    "raven": TableFormat(".Table.1.selections.txt", format_raven),
}


def _cell(text: str) -> str:
    text = escape_controls(text)
    return f"'{text}" if text.startswith(FORMULA) else text
