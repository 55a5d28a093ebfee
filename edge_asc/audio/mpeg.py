"""MPEG audio (MP3): its frames are counted, since libsndfile only estimates how many there are.

A file is a row of frames, each with its size in a header of 4 bytes. A section is a run of frames of one rate and
number of channels, without tags or another file's information frame in between; libsndfile gets one section at a time.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from edge_asc.audio.bytestream import Window, id3_size, truncation_error
from edge_asc.audio.part import Part
from edge_asc.errors import AudioError
from edge_asc.frontend import Array

logger = logging.getLogger(__name__)

RATES = ((11025, 12000, 8000), (0, 0, 0), (22050, 24000, 16000), (44100, 48000, 32000))  # by version, 3 is MPEG-1
# kbit/s by layer, MPEG-1 and then MPEG-2 and 2.5.
BITS = {
    (1, True): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (2, True): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, True): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (1, False): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, False): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (3, False): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
HEAD = 64  # bytes of a frame that may hold the mark of an information frame
SEARCHED = 1 << 16
# Frames that a decoder may leave out at a cut, where they refer to frames before it.
UNDECODED = 12
# A length that no file has: libsndfile estimates the number of frames by it, and stops there.
ENDLESS = 1 << 44


@dataclass(frozen=True)
class Frame:
    """A frame by its header.

    Attributes:
        size: bytes.
        samples: of one channel.
        format: layer, rate and number of channels.
        information: whether it holds a description of the file in place of audio.
        promised, bytes: frames and bytes of the file by this description; 0 where it does not say.
    """

    size: int
    samples: int
    format: tuple[int, int, int]
    information: bool = False
    promised: int = 0
    bytes: int = 0


def parse_frame(head: bytes) -> Frame | None:
    """Parse the first HEAD bytes of a frame; return None where they are not those of a frame."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bits, rate_index, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or bits in (0, 15) or rate_index == 3:
        return None
    rate, kilobits = RATES[version][rate_index], BITS[layer, version == 3][bits - 1]
    channels = 1 if head[3] >> 6 == 3 else 2
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    slot = 4 if layer == 1 else 1
    size = (samples // 8 * 1000 * kilobits // rate // slot + padding) * slot
    frame = Frame(size, samples, (layer, rate, channels))
    return _parse_information(frame, head, version == 3) if layer == 3 else frame


def _parse_information(frame: Frame, head: bytes, is_mpeg1: bool) -> Frame:
    """Return a frame of layer 3 with what it says about the file, if it is an information frame."""
    mono = frame.format[2] == 1
    mark = 4 + ((17 if mono else 32) if is_mpeg1 else (9 if mono else 17))  # behind the side information
    if head[mark : mark + 4] in (b"Xing", b"Info") and len(head) >= mark + 16:
        flags, *fields = struct.unpack(">3I", head[mark + 4 : mark + 16])
        promised = fields.pop(0) if flags & 1 else 0
        return replace(frame, information=True, promised=promised, bytes=fields.pop(0) if flags & 2 else 0)
    if head[36:40] == b"VBRI" and len(head) >= 54:
        size, promised = struct.unpack(">2I", head[46:54])
        return replace(frame, information=True, promised=promised, bytes=size)
    return frame


class Section(Window):
    """One section of a file as libsndfile sees it: it ends where its frames end, which is looked up on the way."""

    def __init__(self, file: BinaryIO, start: int, limit: int) -> None:
        """Start a section at the first byte of a frame; `limit` is the end of the file, or of its audio."""
        self._scanned, self._limit = start, limit
        file.seek(start)
        first = parse_frame(file.read(HEAD))
        assert first is not None, "the caller gives the start of a frame"
        self.first = first
        self.frames = 0
        # libsndfile compares the size with that of an information frame, or estimates the number of frames by it.
        super().__init__(file, start, start + (first.bytes if first.promised and first.bytes else ENDLESS))
        self._complete = False

    @property
    def end(self) -> int:
        """The end of the section, once it has been scanned whole."""
        self._scan(self._limit)
        return self._scanned

    def offset(self, frames: int) -> int:
        """Return the byte behind so many frames, not counting the information frame."""
        position = self._start
        for _ in range(frames + self.first.information):
            frame = self._frame(position)
            assert frame is not None, "the section has more frames"
            position += frame.size
        return position

    def _read(self, size: int) -> bytes:
        if self._position >= self._size - 128 and self._start + self._position + size > self._limit:
            return bytes(min(size, self._size - self._position))  # libsndfile looks for a tag in the last 128 bytes
        self._scan(self._start + self._position + size)
        self._file.seek(self._start + self._position)
        return self._file.read(max(0, min(size, self._scanned - self._start - self._position)))

    def _frame(self, position: int) -> Frame | None:
        self._file.seek(position)
        return parse_frame(self._file.read(HEAD))

    def _scan(self, upto: int) -> None:
        while not self._complete and self._scanned < min(upto, self._limit):
            frame = self._frame(self._scanned)
            if frame is None or self._scanned + frame.size > self._limit or (self.frames and self._is_other(frame)):
                self._complete = True
            else:
                self._scanned += frame.size
                self.frames += 1

    def _is_other(self, frame: Frame) -> bool:
        return frame.information or frame.format != self.first.format


def parts(file: BinaryIO, name: str, start: int, end: int) -> Iterator[Part]:
    """Yield the parts of MPEG audio between two bytes of a file.

    Raises:
        AudioError: it holds no frames, or is damaged.
    """
    from edge_asc.audio.libsndfile import open_part

    position = _find_frame(file, start, end, name)
    if position is None:
        raise AudioError(f"{name}: holds no MPEG frames; expected an MP3 file: fetch or convert it again")
    while position is not None:
        section = Section(file, position, end)
        part = open_part(section, name, estimated=True)
        counter = _Counter()
        yield replace(part, blocks=counter.count(part.blocks))
        position = _find_frame(file, _finish(section, counter.samples, name), end, name)


class _Counter:
    """Counts the samples of one channel that pass."""

    samples = 0

    def count(self, blocks: Iterator[Array]) -> Iterator[Array]:
        for block in blocks:
            self.samples += len(block)
            yield block


def _finish(section: Section, decoded: int, name: str) -> int:
    """Check what was decoded against the frames of a section; return where to read on."""
    end, first = section.end, section.first
    frames = section.frames - first.information
    if first.promised and frames < first.promised - 1:
        raise truncation_error(name, f"{frames} MPEG frames", f"the {first.promised} that its header promises")
    if first.promised and frames > first.promised + 1:
        logger.warning("%s: has more MPEG frames than its header says; all are read", name)
        return section.offset(first.promised)
    if decoded < (frames - UNDECODED) * first.samples:
        raise AudioError(
            f"{name}: is damaged: got {decoded} samples; expected about {frames * first.samples}, which its "
            f"{frames} MPEG frames hold: fetch or convert it again"
        )
    return end


def _find_frame(file: BinaryIO, position: int, end: int, name: str) -> int | None:
    """Return the byte at which the next frame starts; tags and other bytes are skipped. None where no frame follows."""
    begin = position = _skip_tags(file, position, end)
    while position < end:
        file.seek(position)
        data = file.read(SEARCHED + HEAD)
        for at in range(min(SEARCHED, len(data))):
            if data[at] == 0xFF and _is_frame(file, position + at, end):
                _note_ignored(begin, position + at, name)
                return position + at
        position += SEARCHED
    _note_ignored(begin, end, name)
    return None


def _is_frame(file: BinaryIO, position: int, end: int) -> bool:
    """Return whether a whole frame starts here, with another one, a tag or the end behind it."""
    file.seek(position)
    frame = parse_frame(file.read(HEAD))
    if frame is None or position + frame.size > end:
        return False
    following = position + frame.size
    file.seek(following)
    other = parse_frame(file.read(HEAD))
    return _skip_tags(file, following, end) != following or following == end or other is not None


def _skip_tags(file: BinaryIO, position: int, end: int) -> int:
    """Return the end of the ID3 and APE tags that start at a byte."""
    while position < end:
        file.seek(position)
        head = file.read(32)
        if size := id3_size(head):
            position += size
        elif head.startswith(b"APETAGEX") and len(head) == 32:
            # The size leaves out the header; a tag that has only a footer is noted as ignored.
            position += 32 + int.from_bytes(head[12:16], "little")
        elif head.startswith(b"TAG") and end - position == 128:
            position += 128
        else:
            break
    return min(position, end)


def _note_ignored(begin: int, end: int, name: str) -> None:
    if end > begin:
        logger.warning("%s: %d bytes at byte %d are no MPEG frame; they are ignored", name, end - begin, begin)
