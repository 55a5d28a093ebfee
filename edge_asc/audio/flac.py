"""FLAC: the header's number of frames is exact where it is given, and is compared with what was decoded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from edge_asc.audio.bytestream import Window, truncation_error
from edge_asc.audio.part import Part
from edge_asc.frontend import Array

logger = logging.getLogger(__name__)

MAGIC = b"fLaC"
TOTAL = 21  # the byte of the file whose lower half starts the 36 bits of the number of frames


def parts(file: BinaryIO, name: str, start: int) -> Iterator[Part]:
    """Yield the one part of a FLAC file that starts at a byte.

    Raises:
        AudioError: the file is damaged, or has fewer frames than its header says.
    """
    from edge_asc.audio.libsndfile import open_part

    file.seek(start + TOTAL)
    total = file.read(5)
    promised = int.from_bytes(total, "big") & (1 << 36) - 1
    # libsndfile stops at the number of the header, so that it gets a header that leaves the number open.
    opened = bytes([total[0] & 0xF0, 0, 0, 0, 0]) if len(total) == 5 else b""
    part = open_part(Window(file, start, patch=(TOTAL, opened)), name)
    yield replace(part, frames=promised or None, blocks=_count(part.blocks, promised, name))


def _count(blocks: Iterator[Array], promised: int, name: str) -> Iterator[Array]:
    count = 0
    for block in blocks:
        count += len(block)
        yield block
    if count < promised:
        raise truncation_error(name, f"{count} frames", f"the {promised} that its header promises")
    if count > promised > 0:
        logger.warning("%s: has %d frames, more than the %d of its header; all are read", name, count, promised)
