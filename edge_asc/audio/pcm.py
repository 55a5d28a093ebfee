"""Samples without compression, or in the two G.711 codes of telephony."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np

from edge_asc.audio.bytestream import Source
from edge_asc.frontend import Array

Coding = Literal["unsigned", "signed", "float", "alaw", "ulaw"]


@dataclass(frozen=True)
class PcmFormat:
    """How samples stand in bytes.

    Attributes:
        coding: of one sample.
        size: bytes of one sample; unsigned samples, A-law and µ-law have 1, signed ones 1 to 4, float 4 or 8.
        big_endian: whether the most significant byte stands first.
        rate: Hz.
        channels: number of interleaved channels.
    """

    coding: Coding
    size: int
    big_endian: bool = False
    rate: int = 16000
    channels: int = 1

    @property
    def frame(self) -> int:
        """Bytes of one sample of every channel."""
        return self.size * self.channels

    def decode(self, data: bytes) -> Array:
        """Return the samples of whole frames, (n, channels), full scale at ±1."""
        order = ">" if self.big_endian else "<"
        samples: Array
        if self.coding in ("alaw", "ulaw"):
            samples = _g711_table(self.coding)[np.frombuffer(data, np.uint8)]
        elif self.coding == "unsigned":
            samples = (np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
        elif self.coding == "float":
            with np.errstate(over="ignore", invalid="ignore"):  # the reader refuses what is not finite
                samples = np.frombuffer(data, f"{order}f{self.size}").astype(np.float32)
        elif self.size == 3:
            # Three bytes become the upper ones of four.
            wide = np.zeros((len(data) // 3, 4), np.uint8)
            upper = wide[:, :3] if self.big_endian else wide[:, 1:]
            upper[:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            samples = wide.view(f"{order}i4")[:, 0].astype(np.float32) / np.float32(2**31)
        else:
            samples = np.frombuffer(data, f"{order}i{self.size}").astype(np.float32)
            samples /= np.float32(2 ** (8 * self.size - 1))
        return samples.reshape(-1, self.channels)

    def blocks(self, source: Source, frames: int, limit: int | None) -> Iterator[Array]:
        """Yield the samples that follow in a source, in blocks of `frames`, up to a number of bytes.

        A last frame that is not complete is left out.
        """
        size = frames * self.frame
        while limit is None or limit > 0:
            data = source.read(size if limit is None else min(size, limit))
            if limit is not None:
                limit -= len(data)
            if whole := len(data) // self.frame * self.frame:
                yield self.decode(data[:whole])
            if len(data) < size:
                return


# Names as in FFmpeg and arecord.
RAW_FORMATS = {
    "u8": PcmFormat("unsigned", 1),
    "s16le": PcmFormat("signed", 2),
    "s16be": PcmFormat("signed", 2, big_endian=True),
    "s24le": PcmFormat("signed", 3),
    "s32le": PcmFormat("signed", 4),
    "f32le": PcmFormat("float", 4),
    "f64le": PcmFormat("float", 8),
    "alaw": PcmFormat("alaw", 1),
    "mulaw": PcmFormat("ulaw", 1),
}


def raw_format(name: str, rate: int, channels: int) -> PcmFormat:
    """Return one of RAW_FORMATS at a rate, Hz, with a number of channels."""
    return replace(RAW_FORMATS[name], rate=rate, channels=channels)


@cache
def _g711_table(coding: str) -> Array:
    """Return the value of each code of A-law or µ-law, (256,), as libsndfile decodes it."""
    import io

    import soundfile

    codes = io.BytesIO(bytes(range(256)))
    options = {"samplerate": 8000, "channels": 1, "format": "RAW", "subtype": coding.upper()}
    table: Array = soundfile.read(codes, dtype="float32", **options)[0]
    return table
