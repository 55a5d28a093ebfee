"""Chained Ogg files: libsndfile decodes the first link alone, so that each link is opened as a file of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import BinaryIO

from edge_asc.audio.bytestream import file_size, truncation_error

logger = logging.getLogger(__name__)

MAGIC = b"OggS"
HEADER = 27  # bytes of a page before its table of segments
FIRST, LAST = 2, 4  # flags of the first and the last page of a stream
SEARCHED = 1 << 16


def links(file: BinaryIO, name: str) -> Iterator[tuple[int, int]]:
    """Yield the first byte and the end of each link, in order, as far as pages say.

    Raises:
        AudioError: the last page of a link is not whole, or not marked as the end of a stream.
    """
    end = file_size(file)
    start = position = 0
    flags = FIRST
    while (page := _read_page(file, position, end, name)) is not None:
        at, size, new = page
        if new & FIRST and not flags & FIRST:
            _check_end(flags, position, name)
            yield start, position
            start = at
        position, flags = at + size, new
    _check_end(flags, position, name)
    yield start, position


def _read_page(file: BinaryIO, position: int, end: int, name: str) -> tuple[int, int, int] | None:
    """Return offset, bytes and flags of the next page, None where no more follows."""
    file.seek(position)
    head = file.read(HEADER + 255)
    if not head.startswith(MAGIC):
        at = _find(file, position)
        rest = (end if at is None else at) - position
        if rest:
            logger.warning("%s: %d bytes at byte %d are no Ogg page; they are ignored", name, rest, position)
        if at is None:
            return None
        position = at
        file.seek(position)
        head = file.read(HEADER + 255)
    segments = head[26] if len(head) >= HEADER else 0
    size = HEADER + segments + sum(head[HEADER : HEADER + segments])
    if len(head) < HEADER + segments or position + size > end:
        raise truncation_error(name, f"{end} bytes", "a last page, whole and marked as the end of the stream")
    return position, size, head[5]


def _find(file: BinaryIO, position: int) -> int | None:
    file.seek(position)
    data = file.read(SEARCHED)
    while len(data) >= len(MAGIC):
        if (found := data.find(MAGIC)) >= 0:
            return position + found
        position += len(data) - 3
        file.seek(position)
        data = file.read(SEARCHED)
    return None


def _check_end(flags: int, end: int, name: str) -> None:
    if not flags & LAST:
        raise truncation_error(name, f"{end} bytes", "a last page, whole and marked as the end of the stream")
