"""Tables as spreadsheets and corpora write them: comma, semicolon or tab, quoted or not; and JSON lines."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_asc.errors import DatasetError

SEPARATORS = "\t;,"


@dataclass(frozen=True)
class Row:
    """One row: its line in the file, and its cells by column, in lower case with underscores."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True)
class Table:
    """A table with named columns.

    Attributes:
        path: of the file.
        columns: names as the file writes them.
        rows: without empty ones.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @classmethod
    def read(cls, path: Path) -> Table:
        """Read a file; one that ends in .jsonl holds an object in each line.

        Raises:
            DatasetError: it cannot be read, is not UTF-8 or UTF-16 text, or a row has more cells than the first line.
        """
        text = _read_text(path)
        return _read_lines(path, text) if path.suffix.lower() == ".jsonl" else _read_cells(path, text)

    def find(self, names: Iterable[str]) -> str:
        """Return the first of these columns that the table has; "" where it has none."""
        known = {_simplify(column) for column in self.columns}
        return next((name for name in names if name in known), "")


def _simplify(column: str) -> str:
    return column.strip().casefold().replace(" ", "_").replace("-", "_")


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return data.decode("utf-16" if wide else "utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); expected a table of labels") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: is not UTF-8 text ({error.reason}); save it as CSV in UTF-8") from error


def _read_cells(path: Path, text: str) -> Table:
    first = text.lstrip().partition("\n")[0]
    separator = max(SEPARATORS, key=first.count)
    reader = csv.reader(text.lstrip().splitlines(keepends=True), delimiter=separator, skipinitialspace=True)
    rows = []
    try:
        columns = tuple(column.strip() for column in next(reader, []))
        names = [_simplify(column) for column in columns]
        for cells in reader:
            if any(cells[len(columns) :]):
                raise DatasetError(
                    f"{path}:{reader.line_num}: has {len(cells)} cells; expected the {len(columns)} of the first line: "
                    "put a cell that holds a separator in quotes"
                )
            if any(cell.strip() for cell in cells):
                padded = [*cells, *[""] * (len(columns) - len(cells))]
                rows.append(Row(reader.line_num, dict(zip(names, map(str.strip, padded), strict=False))))
    except csv.Error as error:
        raise DatasetError(f"{path}:{reader.line_num}: not a table ({error}); save it as CSV again") from error
    return Table(path, columns, tuple(rows))


def _read_lines(path: Path, text: str) -> Table:
    columns: dict[str, None] = {}
    rows = []
    for number, value in _parse_lines(path, text):
        columns |= dict.fromkeys(value)
        rows.append(Row(number, {_simplify(name): "" if cell is None else str(cell) for name, cell in value.items()}))
    return Table(path, tuple(columns), tuple(rows))


def _parse_lines(path: Path, text: str) -> Iterator[tuple[int, dict[str, object]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{path}:{number}: not JSON ({error}); expected one object in each line") from error
        if not isinstance(value, dict):
            raise DatasetError(f"{path}:{number}: is {line[:40]!r}; expected one object in each line")
        yield number, value
