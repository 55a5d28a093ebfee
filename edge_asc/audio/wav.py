"""WAV, RF64 and RIFX, in files and pipes.

Sizes in a WAV are written when a recording ends. Many recorders never come back to fill them in, so that only a
data chunk of a plausible size is a promise. The RIFF size and the byte rate are informational: no sample depends on
them, and they are ignored.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from edge_asc.audio.bytestream import Pipe, truncation_error
from edge_asc.audio.part import Part
from edge_asc.audio.pcm import Coding, PcmFormat
from edge_asc.errors import AudioError

logger = logging.getLogger(__name__)

MAGIC = (b"RIFF", b"RIFX", b"RF64", b"BW64")
STREAMED = 0xFFFFFFFF  # the size in a WAV written to a pipe, or in an RF64 whose sizes are in its ds64 chunk
EXTENSIBLE, MPEG = 0xFFFE, (0x50, 0x55)
CODINGS: dict[int, Coding] = {1: "signed", 3: "float", 6: "alaw", 7: "ulaw"}
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
LONGEST_FORMAT = 4096  # bytes of a format chunk
PIECE = 1 << 16


@dataclass(frozen=True)
class Header:
    """A WAV header up to the first sample.

    Attributes:
        kind: format number, with an extensible format resolved.
        pcm: how samples stand in bytes; None for a codec.
        start: offset of the first sample.
        size: bytes of the data chunk as the header says, possibly never filled in.
    """

    kind: int
    pcm: PcmFormat | None
    start: int
    size: int


def is_wav(head: bytes) -> bool:
    """Return whether a source that starts with these 12 bytes is a WAV."""
    return head[:4] in MAGIC and head[8:12] == b"WAVE"


def is_unfilled(size: int) -> bool:
    """Return whether recorders write this size of a chunk before they know it.

    0: Oboe, GStreamer, a killed SoX; 2 GiB, or a little less: arecord, SoX to a pipe; 4 GiB, or a little less: FFmpeg.
    """
    return size == 0 or 0x7FFF0000 <= size <= 0x80010000 or size >= 0xFFFF0000


def read_header(pipe: Pipe, name: str) -> Header:
    """Read the header of a WAV; the pipe then stands at its first sample.

    Raises:
        AudioError: the header ends early, or contradicts itself.
    """
    head = pipe.read(12)
    order: Literal["<", ">"] = ">" if head[:4] == b"RIFX" else "<"
    start, size64, kind, pcm = 12, STREAMED, None, None
    while len(head := pipe.read(8)) == 8:
        chunk, size = struct.unpack(order + "4sI", head)
        start += 8
        if chunk == b"data":
            if kind is None:
                raise AudioError(f"{name}: has no format chunk before its data; expected one: export it again")
            return Header(kind, pcm, start, size64 if size == STREAMED else size)
        body = pipe.read(size) if size <= LONGEST_FORMAT else b""
        if chunk == b"ds64" and len(body) >= 16:
            (size64,) = struct.unpack("<Q", body[8:16])
        if chunk == b"fmt " and kind is None:
            kind, pcm = _parse_format(body, order, name)
        rest = size + size % 2 - len(body)
        start += size + size % 2
        _skip(pipe, rest)
    raise truncation_error(name, f"{start} bytes", "at least the header of a data chunk")


def file_parts(file: BinaryIO, name: str, file_size: int, block: int) -> Iterator[Part]:
    """Yield the parts of a WAV file with samples that `pcm` decodes, and of WAV files that follow it in the same file.

    Args:
        file: seekable.
        name: of the file, for messages.
        file_size: bytes.
        block: frames.

    Raises:
        AudioError: the file is truncated, empty or damaged.
    """
    offset: int | None = 0
    while offset is not None:
        file.seek(offset)
        pipe = Pipe(file)
        header = read_header(pipe, name)
        pcm = header.pcm
        if pcm is None:
            raise AudioError(f"{name}: another WAV in the same file has a codec; expected PCM: split the file")
        size = 0 if _is_empty(pipe, header, file_size - offset) else data_size(header, file_size - offset, name)
        yield Part(pcm.rate, pcm.channels, size // pcm.frame, pcm.blocks(pipe, block, size))
        end = offset + header.start + size
        file.seek(end)
        following = _find_next(Pipe(file), size, name)
        offset = None if following is None else end + following


def pipe_parts(pipe: Pipe, name: str, block: int) -> Iterator[Part]:
    """Yield the parts of a WAV from a pipe.

    Raises:
        AudioError: the pipe ends before the data chunk does, or its codec needs a file.
    """
    while True:
        header = read_header(pipe, name)
        pcm = header.pcm
        if pcm is None:
            raise AudioError(
                f"{name}: WAV format {header.kind:#06x} cannot be read from a pipe; expected PCM, float, A-law or "
                "µ-law samples: write it to a file first, or convert it with: ffmpeg -i INPUT -f wav -"
            )
        if is_unfilled(header.size):
            yield Part(pcm.rate, pcm.channels, None, pcm.blocks(pipe, block, None))
            return
        yield Part(pcm.rate, pcm.channels, header.size // pcm.frame, pcm.blocks(pipe, block, header.size))
        if _find_next(pipe, header.size, name) is None:
            return


def data_size(header: Header, file_size: int, name: str) -> int:
    """Return the bytes of samples in a file, also where the header leaves them open.

    Raises:
        AudioError: the file ends before its data chunk.
    """
    left = max(0, file_size - header.start)
    if header.size <= left and header.size:
        return header.size
    if not is_unfilled(header.size):
        raise truncation_error(
            name, f"{file_size} bytes", f"at least {header.start + header.size}, where its header ends the data chunk"
        )
    if left:
        logger.warning("%s: its header leaves the length open; it is read to its end", name)
    return left


def _parse_format(body: bytes, order: Literal["<", ">"], name: str) -> tuple[int, PcmFormat | None]:
    """Return the number of a format, and how its samples stand in bytes, None for a codec."""
    if len(body) < 16:
        raise truncation_error(name, f"a format chunk of {len(body)} bytes", "at least 16")
    kind, channels, rate, _, frame, bits = struct.unpack(order + "HHIIHH", body[:16])
    if kind == EXTENSIBLE and len(body) >= 40 and body[26:40] == GUID_TAIL:
        (kind,) = struct.unpack(order + "H", body[24:26])
    coding = CODINGS.get(kind)
    if coding is None:
        return kind, None
    size = (bits + 7) // 8
    if frame != channels * size or not channels or not size:
        raise AudioError(
            f"{name}: its header contradicts itself: got {channels} channels of {bits} bits in frames of {frame} "
            f"bytes; expected {channels * size} bytes: export the recording again"
        )
    if size not in {"signed": (1, 2, 3, 4), "float": (4, 8)}.get(coding, (1,)):
        raise AudioError(
            f"{name}: its header says {coding} samples of {bits} bits; expected PCM up to 32 bits or float"
        )
    if coding == "signed" and size == 1:
        coding = "unsigned"
    return kind, PcmFormat(coding, size, order == ">", rate, channels)


def _is_empty(pipe: Pipe, header: Header, file_size: int) -> bool:
    """Return whether a data chunk of size 0 is followed by another chunk, rather than by samples."""
    chunk = pipe.peek(8)
    size = int.from_bytes(chunk[4:], "little")
    return header.size == 0 and chunk[:4].isalpha() and header.start + 8 + size <= file_size


def _find_next(pipe: Pipe, size: int, name: str) -> int | None:
    """Skip what follows a data chunk up to another WAV; return the bytes skipped, None at the end of the source."""
    skipped = 0
    if size % 2 and not pipe.peek(4).startswith(b"RIF"):
        skipped += len(pipe.read(1))
    while len(head := pipe.peek(12)) >= 8:
        if is_wav(head):
            logger.warning("%s: another WAV follows in the same file; it is read, too", name)
            return skipped
        if not all(32 <= byte < 127 for byte in head[:4]):
            break
        length = int.from_bytes(head[4:8], "little")
        skipped += 8 + length + length % 2
        _skip(pipe, 8 + length + length % 2)
    if rest := _skip(pipe, None):
        logger.warning("%s: %d bytes after its data are not audio; they are ignored", name, rest)
    return None


def _skip(pipe: Pipe, size: int | None) -> int:
    """Read on by a number of bytes, or to the end; return the bytes read."""
    done = 0
    while size is None or done < size:
        piece = len(pipe.read(PIECE if size is None else min(PIECE, size - done)))
        done += piece
        if not piece:
            break
    return done
