"""Live sources that may be lost and come back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

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
        seconds: that are missing; 0 when the source has just been lost and the length is not known yet.
        reason: why.
    """

    seconds: float
    reason: str


def follow_microphone(
    sample_rate: int,
    device: int | str | None = None,
    *,
    open_device: Callable[..., Iterator[Array]] = audio.microphone,
    refresh: Callable[[], None] = audio.refresh_devices,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Array | Gap]:
    """Yield blocks of a microphone, (n,) at `sample_rate` Hz, until the generator is closed.

    A device that stops, such as a USB microphone that is unplugged, is opened again until it comes back. A gap is
    yielded when it is lost, an empty block after each try to open it, and a gap with its seconds when it is back.

    Args:
        sample_rate: Hz.
        device: number or part of the name; None for the default one.
        open_device: opens it, as `audio.microphone` does.
        refresh: makes the system's list of devices anew, before each try.
        sleep, clock: as of `time`.

    Raises:
        MissingExtraError: sounddevice is not installed.
        AudioError: the device cannot be opened at the start.
    """
    last: float | None = None  # end of the last block
    lost, tries = False, 0
    while True:
        reason = "the device stopped"
        try:
            for block in open_device(sample_rate, device=device):
                if lost and last is not None:
                    yield Gap(max(0.0, clock() - len(block) / sample_rate - last), "the device is back")
                lost, tries, last = False, 0, clock()
                yield block
        except AudioError as error:
            if last is None:
                raise
            reason = str(error)
        if not lost:
            lost = True
            yield Gap(0.0, reason)
        logger.debug("%s", reason)
        yield np.empty(0, np.float32)
        sleep(WAITS[min(tries, len(WAITS) - 1)])
        tries += 1
        refresh()
