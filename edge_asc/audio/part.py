"""Part of a source: audio of one rate and number of channels, decoded block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from edge_asc.frontend import Array

# Frames in a decoded block of a file and of a pipe. Both are whole numbers of segments of `edge_asc.audio.mixing`.
FILE_BLOCK, PIPE_BLOCK = 8192, 1024


@dataclass(frozen=True)
class Part:
    """Audio of one rate; a file has several where files were joined.

    Attributes:
        rate: Hz.
        channels: number of channels.
        frames: number of frames by an exact field of the header; None where it is open or estimated.
        blocks: the samples, each block (n, channels) float32; all but the last have the same length.
    """

    rate: int
    channels: int
    frames: int | None
    blocks: Iterator[Array] = field(repr=False)
