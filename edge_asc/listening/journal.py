"""A journal of events: JSON lines in files of bounded size."""

from __future__ import annotations

import json
from pathlib import Path

from edge_asc.files import explain_failure
from edge_asc.listening.listener import now
from edge_asc.listening.sink import Change, Sink

SIZE = 10_000_000  # bytes
OLD = 3  # files that are kept beside the current one


class Journal(Sink):
    """Writes each change as a line of JSON, at once.

    When the file reaches its size, it becomes NAME.1, the one before NAME.2, and so on; the oldest is removed.

    Args:
        path: of the file; lines are appended.
        size: largest size of one file, bytes.

    Raises:
        OutputError: the file cannot be opened.
    """

    def __init__(self, path: Path, size: int = SIZE) -> None:
        self.path, self._limit = path, size
        self._open()

    def receive(self, change: Change) -> None:
        """Write a change.

        Raises:
            OutputError: it cannot be written.
        """
        self._write(json.dumps(change.to_json(), allow_nan=False))

    def note(self, source: str, text: str) -> None:
        """Write a remark.

        Raises:
            OutputError: it cannot be written.
        """
        line = {"source": source, "event": "note", "text": text, "time": now().isoformat(timespec="milliseconds")}
        self._write(json.dumps(line))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise explain_failure(self.path, error) from error

    def _write(self, line: str) -> None:
        data = line.encode() + b"\n"
        try:
            if self._file.tell() and self._file.tell() + len(data) > self._limit:
                self._rotate()
            self._file.write(data)  # one call for each line, so that a line is there whole or not at all
        except OSError as error:
            raise explain_failure(self.path, error) from error

    def _rotate(self) -> None:
        self._file.close()
        for number in range(OLD, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number}")
            newer = self.path if number == 1 else self.path.with_name(f"{self.path.name}.{number - 1}")
            if newer.exists():
                newer.replace(older)
        self._open()
