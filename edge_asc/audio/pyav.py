"""Formats that libsndfile does not know, such as AAC, WMA, WebM and AMR, by PyAV, which is optional.

PyAV's wheels contain FFmpeg; they are about 35 MB.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from edge_asc.audio.part import Part
from edge_asc.errors import AudioError, MissingExtraError, require
from edge_asc.frontend import Array

# Names of formats by the bytes that files start with.
FORMATS = (
    (0, b"\x1aE\xdf\xa3", "Matroska or WebM"),
    (0, b"0&\xb2u", "WMA"),
    (0, b"#!AMR", "AMR"),
    (8, b"WAVE", "WAV with this codec"),
    (4, b"ftyp", "MP4 or M4A"),
)


def guess_format(head: bytes) -> str:
    """Return the name of the format of a file by its first bytes, "" for an unknown one."""
    for offset, magic, name in FORMATS:
        if head.startswith(magic, offset):
            return name
    return "AAC" if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0 else ""


def parts(file: BinaryIO, name: str) -> Iterator[Part]:
    """Yield the parts of the first audio stream of a file.

    Raises:
        MissingExtraError: PyAV is not installed, and the format is one that it knows.
        AudioError: the file holds no audio, or is damaged.
    """
    file.seek(0)
    kind = guess_format(file.read(12))
    try:
        av = require("av", "audio")
    except MissingExtraError as error:
        raise MissingExtraError(f"{name}: libsndfile cannot decode {kind or 'this format'}; {error}") from error
    file.seek(0)
    try:
        with av.open(file) as container:
            if not container.streams.audio:
                raise AudioError(f"{name}: holds no audio; expected a sound file")
            yield from _decode(av, container)
    except av.error.FFmpegError as error:
        raise AudioError(
            f"{name}: cannot be decoded ({error.strerror}); expected a whole sound file: fetch or convert it again"
        ) from error


def _decode(av: Any, container: Any) -> Iterator[Part]:
    """Yield a part for each run of frames of one rate and number of channels."""
    frames = container.decode(audio=0)
    frame = next(frames, None)
    while frame is not None:
        run = _Run(av, frame, frames)
        yield Part(run.rate, run.channels, None, run.blocks())
        frame = run.following


class _Run:
    """Frames of one rate and number of channels, and the first one that follows them."""

    def __init__(self, av: Any, first: Any, frames: Iterator[Any]) -> None:
        self.rate, self.channels = first.sample_rate, first.layout.nb_channels
        self._first, self._frames = first, frames
        self._resampler = av.AudioResampler(format="flt", layout=first.layout, rate=first.sample_rate)
        self.following: Any = None

    def blocks(self) -> Iterator[Array]:
        frame = self._first
        while frame is not None:
            if (frame.sample_rate, frame.layout.nb_channels) != (self.rate, self.channels):
                self.following = frame
                break
            yield from self._convert(frame)
            frame = next(self._frames, None)
        yield from self._convert(None)

    def _convert(self, frame: Any) -> Iterator[Array]:
        for each in self._resampler.resample(frame):
            yield np.ascontiguousarray(each.to_ndarray(), np.float32).reshape(-1, self.channels)
