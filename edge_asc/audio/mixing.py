"""From any number of channels to one."""

from __future__ import annotations

import logging

import numpy as np

from edge_asc.frontend import Array

logger = logging.getLogger(__name__)

# Frames that are judged together.
SEGMENT = 1024
# A mix with less than this part of the energy that unrelated channels would give (−17 dB) is a cancellation.
CANCELLED = 0.02


class Downmix:
    """The mean of the channels, which keeps the level.

    Where channels cancel, such as a stereo pair with one channel inverted, the mean holds next to nothing of the sound.
    Segments of 1024 frames in which it has less than 2 % of the energy that unrelated channels would give are taken
    from one channel: the loudest of the first such segment.
    """

    def __init__(self, name: str) -> None:
        """Start a source; `name` is for the warning."""
        self._name = name
        self._channel: int | None = None

    def mix(self, block: Array) -> Array:
        """Return the mix, (n,), of a block, (n, channels).

        A source gives the same samples for any blocks of whole segments.
        """
        if block.shape[1] == 1:
            return block[:, 0]
        mono: Array = block.mean(axis=1)
        threshold = CANCELLED / block.shape[1] ** 2
        for begin in range(0, len(block), SEGMENT):
            part, mixed = block[begin : begin + SEGMENT], mono[begin : begin + SEGMENT]
            if np.dot(mixed, mixed) >= threshold * np.vdot(part, part) or not part.any():
                continue
            if self._channel is None:
                self._channel = int(np.square(part).sum(axis=0).argmax())
                logger.warning(
                    "%s: its channels cancel each other; channel %d is read alone where they do",
                    self._name,
                    self._channel + 1,
                )
            mixed[:] = part[:, self._channel]
        return mono
