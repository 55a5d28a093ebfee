"""Tables of events, read back as other programs read them."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

from edge_asc.detection.event import SoundEvent
from edge_asc.detection.tables import CSV_COLUMNS, FORMATS, format_csv

EVENTS = [
    SoundEvent("rain", 0.25, 12.5, 0.987654, 0.5, datetime(2026, 1, 1, 12, tzinfo=UTC)),
    SoundEvent('a\tb, "c"\n', 13.0, 14.0, 0.6, 0.55),
    SoundEvent("@sum", 3600.0, 3601.0, 1.0, 1.0),
]


def test_csv_has_a_header_and_quotes_what_needs_it() -> None:
    rows = list(csv.reader(io.StringIO(format_csv([("x, y.wav", event) for event in EVENTS]))))
    assert tuple(rows[0]) == CSV_COLUMNS
    first = ["x, y.wav", "rain", "0.250", "12.500", "12.250", "0.9877", "0.5000", "2026-01-01T12:00:00.000+00:00"]
    assert rows[1] == first
    assert [row[1] for row in rows[2:]] == ['a\\tb, "c"\\n', "'@sum"]
    assert all(len(row) == len(CSV_COLUMNS) for row in rows)
    assert format_csv([("x", EVENTS[0])], header=False).count("\n") == 1


def test_audacity_reads_its_labels_back() -> None:
    lines = FORMATS["audacity"].write(EVENTS).splitlines()
    fields = [line.split("\t") for line in lines]
    assert [(float(start), float(end)) for start, end, _ in fields] == [(e.start, e.end) for e in EVENTS]
    assert [label for *_, label in fields] == ["rain", 'a\\tb, "c"\\n', "@sum"]


def test_raven_reads_its_selections_back() -> None:
    rows = list(csv.DictReader(io.StringIO(FORMATS["raven"].write(EVENTS)), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert [int(row["Selection"]) for row in rows] == [1, 2, 3]
    assert [(float(r["Begin Time (s)"]), float(r["End Time (s)"])) for r in rows] == [(e.start, e.end) for e in EVENTS]
    assert {(row["View"], row["Channel"], row["Low Freq (Hz)"]) for row in rows} == {("Spectrogram 1", "1", "0.0")}
    assert [row["Label"] for row in rows] == ["rain", 'a\\tb, "c"\\n', "@sum"]


def test_no_events_are_a_table_all_the_same() -> None:
    assert FORMATS["audacity"].write([]) == ""
    assert FORMATS["raven"].write([]).count("\n") == 1
