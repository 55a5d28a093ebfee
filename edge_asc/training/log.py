"""The log of a training, `log.csv` in its folder: a line for each epoch."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path

from edge_asc.errors import EdgeAscError
from edge_asc.files import write_bytes
from edge_asc.training.listener import Epoch

LOG = "log.csv"
# Bytes of a log that is read; one of 100,000 epochs has less.
LARGEST = 16_000_000
NAMES = [field.name for field in fields(Epoch)]


def write_log(folder: Path, history: Sequence[Epoch]) -> None:
    """Write the log of a training, whole or not at all.

    Raises:
        OutputError: the folder cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(NAMES)
    writer.writerows([_format(value) for value in astuple(epoch)] for epoch in history)
    write_bytes(folder / LOG, text.getvalue().encode())


def read_log(folder: Path) -> list[Epoch]:
    """Read what `write_log` wrote.

    Raises:
        EdgeAscError: the file cannot be read, or is not the log of a training.
    """
    path = folder / LOG
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise EdgeAscError(f"{path}: cannot be read ({error.strerror}); expected the log of a training") from error
    try:
        if len(data) > LARGEST:
            raise ValueError(f"it has more than {LARGEST / 1e6:.0f} MB")
        header, *rows = csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True)
        if header != NAMES:
            raise ValueError(f"its first line is not {','.join(NAMES)}")
        return [_parse(row, line) for line, row in enumerate(rows, 2)]
    except (ValueError, csv.Error) as error:
        raise EdgeAscError(f"{path}: not the log of a training ({error}); copy the folder again") from error


def _parse(row: Sequence[str], line: int) -> Epoch:
    try:
        number, stage, loss, accuracy, learning_rate, seconds, crops, validation = row
        figures = [float(text) for text in (loss, accuracy, learning_rate, seconds, validation or "0")]
        if not all(map(math.isfinite, figures)):
            raise ValueError("got a number that is not finite")
        checked = figures[4] if validation else None
        return Epoch(int(number), stage, figures[0], figures[1], figures[2], figures[3], int(float(crops)), checked)
    except ValueError as error:
        raise ValueError(f"line {line}: {error}") from error


def _format(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.6g}"
