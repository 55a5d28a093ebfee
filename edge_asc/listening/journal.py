"""A journal of events: JSON lines in files of bounded size."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from edge_asc.files import explain_failure
from edge_asc.listening.listener import now
from edge_asc.listening.sink import Change, Sink

SIZE = 10_000_000  # bytes
OLD = 3  # files that are kept beside the current one


class Journal(Sink):
    """Writes each change as a line of JSON, at once.

    When the file reaches its size, it becomes NAME.1, the one before NAME.2, and so on; the oldest is removed. A file
    that another program has moved away, such as logrotate, is begun anew. A device or a pipe never rotates.

    Args:
        path: of the file; lines are appended. A last line that is cut off, as a power failure leaves it, is ended.
        size: largest size of one file, bytes.

    Raises:
        OutputError: the file cannot be opened.
    """

    def __init__(self, path: Path, size: int = SIZE) -> None:
        self.path, self._limit = path, size
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise explain_failure(path, error) from error

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
        self._file = self.path.open("ab", buffering=0)
        self._is_regular = self.path.is_file()
        if self._is_regular and self._file.tell():
            with self.path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                if file.read() != b"\n":
                    self._file.write(b"\n")

    def _write(self, line: str) -> None:
        data = line.encode() + b"\n"
        try:
            if self._is_regular:
                self._reopen_moved()
                size = self._file.tell()
                if size and size + len(data) > self._limit:
                    self._rotate()
            self._append(data)
        except OSError as error:
            raise explain_failure(self.path, error) from error

    def _append(self, data: bytes) -> None:
        """Write a line whole, or leave the file as it was."""
        size, rest = self._file.tell() if self._is_regular else 0, data
        try:
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        except OSError:
            if self._is_regular:
                with suppress(OSError):
                    self._file.truncate(size)
            raise

    def _reopen_moved(self) -> None:
        """Open the file again where its name no longer leads to it."""
        with suppress(FileNotFoundError):
            if os.path.samestat(self.path.stat(), os.fstat(self._file.fileno())):
                return
        self._file.close()
        self._open()

    def _rotate(self) -> None:
        self._file.close()
        for number in range(OLD, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number}")
            newer = self.path if number == 1 else self.path.with_name(f"{self.path.name}.{number - 1}")
            if newer.exists():
                newer.replace(older)
        self._open()
