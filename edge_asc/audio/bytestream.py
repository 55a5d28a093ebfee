"""Bytes of sound files and pipes, as decoders read them."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO, Protocol

from edge_asc.errors import AudioError

ID3_HEADER = 10  # bytes


class Source(Protocol):
    """A file or a pipe, read from its start to its end."""

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, fewer at the end."""
        ...


class Pipe:
    """A source that cannot seek. Bytes that were looked at are read again; a read waits until it is complete."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._ahead = b""

    def peek(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer at the end, without taking them."""
        self._ahead += self._fill(size - len(self._ahead))
        return self._ahead[:size]

    def read(self, size: int, /) -> bytes:
        """Take the next `size` bytes, fewer at the end."""
        ahead, self._ahead = self._ahead[:size], self._ahead[size:]
        return ahead + self._fill(size - len(ahead)) if len(ahead) < size else ahead

    def _fill(self, size: int) -> bytes:
        parts = []
        while size > 0 and (part := self._file.read(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


class Window:
    """Part of an open file as libsndfile sees it: a file of its own that cannot be written.

    An exception must not leave a callback of libsndfile, which would print and forget it. It is kept, the file seems
    to end, and `check` raises it.
    """

    def __init__(self, file: BinaryIO, start: int = 0, end: int | None = None, patch: tuple[int, bytes] = (0, b"")):
        """Open a window.

        Args:
            file: seekable.
            start, end: bytes of the file, `end` exclusive; None for the end of the file.
            patch: offset in the window and bytes that stand there in place of the file's own.
        """
        self._file, self._start = file, start
        self._size = (file_size(file) if end is None else end) - start
        self._patch = patch
        self._position = 0
        self._error: BaseException | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte of the window."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def tell(self) -> int:
        """Return the position in the window."""
        return self._position

    def readinto(self, buffer: memoryview) -> int:
        """Read bytes into a buffer; return their number."""
        try:
            data = self._read(len(buffer))
        except BaseException as error:  # re-raised by `check`
            self._error = error
            return 0
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def check(self) -> None:
        """Raise what a read has raised."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _read(self, size: int) -> bytes:
        size = min(size, self._size - self._position)
        if size <= 0:
            return b""
        self._file.seek(self._start + self._position)
        data = self._file.read(size)
        offset, replacement = self._patch
        begin, end = max(offset, self._position), min(offset + len(replacement), self._position + len(data))
        if begin < end:
            at = begin - self._position
            data = data[:at] + replacement[begin - offset : end - offset] + data[at + end - begin :]
        return data


def file_size(file: BinaryIO) -> int:
    """Return the bytes of a seekable file, whose position moves."""
    return file.seek(0, io.SEEK_END)


def id3_size(head: bytes) -> int:
    """Return the bytes of the ID3v2 tag that `head` starts with, 0 where there is none."""
    if len(head) < ID3_HEADER or head[:3] != b"ID3" or max(head[6:10]) > 127:
        return 0
    size = sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    return 2 * ID3_HEADER + size if head[5] & 0x10 else ID3_HEADER + size


def display(name: str | Path) -> str:
    """Return a file's name as valid Unicode; bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")


def truncation_error(name: str, actual: str, expected: str) -> AudioError:
    """Return the error of a file that ends before its exact header fields say."""
    return AudioError(f"{name}: is truncated: got {actual}; expected {expected}: fetch or record it again")
