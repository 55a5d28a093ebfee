"""Live sources that may be lost and come back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edge_asc import audio
from edge_asc.errors import AudioError
from edge_asc.frontend import Array

logger = logging.getLogger(__name__)

# Waits between two tries to open a lost device, s; the last one repeats.
WAITS = (0.5, 1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Gap:
    """A gap in the audio of a source.

    Attributes:
        seconds: that are missing; 0 when the source has just been lost, and nobody knows yet.
        reason: why.
    """

    seconds: float
    reason: str


def follow_microphone(
    sample_rate: int,
    device: int | str | None = None,
    *,
    open_device: Callable[..., Iterator[Array]] = audio.microphone,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Array | Gap]:
    """Yield blocks of a microphone, (n,) at `sample_rate` Hz, until the generator is closed.

    A device that stops, such as a USB microphone that is unplugged, is opened again until it comes back. A gap is
    yielded when it is lost, and one with its seconds when it is back.

    Raises:
        MissingExtraError: sounddevice is not installed.
        AudioError: the device cannot be opened at the start.
    """
    lost: float | None = None
    tries, started = 0, False
    while True:
        try:
            for block in open_device(sample_rate, device=device):
                if lost is not None:
                    yield Gap(time.monotonic() - lost, "the device is back")
                    lost, tries = None, 0
                started = True
                yield block
        except AudioError as error:
            if not started:
                raise
            if lost is None:
                lost = time.monotonic()
                yield Gap(0.0, str(error))
            logger.debug("%s", error)
        sleep(WAITS[min(tries, len(WAITS) - 1)])
        tries += 1
