"""The microphone: live audio at whatever rate the device offers."""

from __future__ import annotations

import logging
import queue
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edge_asc.audio.mixing import Downmix
from edge_asc.audio.resampling import Resampler
from edge_asc.errors import AudioError, require
from edge_asc.frontend import Array

logger = logging.getLogger(__name__)

BACKLOG = 64  # microphone blocks kept for a slow reader
STALL = 5.0  # s without a block, after which a device counts as stopped: an unplugged one may just fall silent


@dataclass
class _Input:
    """How a device is opened.

    Attributes:
        device: number or part of the name; None for the default one.
        rate: Hz.
        block: frames in a block.
        channels: number of channels.
    """

    device: int | str | None
    rate: int
    block: int
    channels: int = 1

    @property
    def name(self) -> str:
        return "microphone" if self.device is None else f"microphone {self.device!r}"


def microphone(sample_rate: int = 16000, block: int = 1024, device: int | str | None = None) -> Iterator[Array]:
    """Yield live blocks of mono samples, (n,) at `sample_rate` Hz, until the generator is closed.

    A device that cannot record mono at this rate is opened at its own rate, mixed down and resampled. Blocks wait in a
    short queue for a slow reader. When the queue overflows, audio is lost and a warning is logged.

    Args:
        sample_rate: Hz.
        block: frames that the device delivers at a time.
        device: number or part of the name of an input of `python -m sounddevice`; None for the default one.

    Raises:
        MissingExtraError: sounddevice is not installed.
        AudioError: PortAudio is not installed, or the device cannot record, or stopped.
    """
    sounddevice = _load_sounddevice()
    source = _Input(device, sample_rate, block)
    try:
        try:
            sounddevice.check_input_settings(device, 1, "float32", samplerate=sample_rate)
        except sounddevice.PortAudioError:
            source = _own_settings(sounddevice, source)
        resampler, downmix = Resampler(source.rate, sample_rate), Downmix(source.name)
        for samples in _record(sounddevice, source):
            if len(mono := resampler.push(downmix.mix(samples))):
                yield mono
    except (sounddevice.PortAudioError, ValueError) as error:
        raise AudioError(
            f"{source.name}: {error}; expected an input that records at {source.rate} Hz: "
            "list the devices with: python -m sounddevice"
        ) from error
    raise AudioError(f"{source.name}: the device stopped; expected audio until closed: check that it is plugged in")


def check_microphone() -> None:
    """Make sure that this installation can use a microphone; no device is opened.

    Raises:
        MissingExtraError: sounddevice is not installed.
        AudioError: PortAudio is not installed.
    """
    _load_sounddevice()


def refresh_devices() -> None:
    """Make PortAudio look for devices again; it keeps the list of its start. No device may be open."""
    sounddevice = require("sounddevice", "microphone")
    try:
        sounddevice._terminate()
        sounddevice._initialize()
    except sounddevice.PortAudioError as error:  # the next try to open a device says what is wrong
        logger.debug("microphone: %s", error)


def _load_sounddevice() -> Any:
    try:
        return require("sounddevice", "microphone")
    except OSError as error:
        raise AudioError(
            f"microphone: {error}; expected the PortAudio library: install it with: apt install libportaudio2"
        ) from error


def _own_settings(sounddevice: Any, source: _Input) -> _Input:
    """Return a device's own rate, and one channel or two."""
    about = sounddevice.query_devices(source.device, "input")
    rate, channels = round(about["default_samplerate"]), min(2, about["max_input_channels"])
    logger.warning("%s: does not record mono at %d Hz; it is opened at %d Hz", source.name, source.rate, rate)
    return _Input(source.device, rate, source.block, max(1, channels))


def _record(sounddevice: Any, source: _Input) -> Iterator[Array]:
    """Yield blocks of a device, (block, channels), until it stops."""
    blocks: queue.SimpleQueue[tuple[Array, bool] | None] = queue.SimpleQueue()
    lost = False

    def callback(data: Array, frames: int, time: Any, status: Any) -> None:
        nonlocal lost
        lost = lost or bool(status.input_overflow)
        if blocks.qsize() < BACKLOG:
            blocks.put((data.copy(), lost))
            lost = False
        else:
            lost = True

    with sounddevice.InputStream(
        samplerate=source.rate,
        blocksize=source.block,
        device=source.device,
        channels=source.channels,
        dtype="float32",
        callback=callback,
        finished_callback=lambda: blocks.put(None),
    ):
        while True:
            try:
                item = blocks.get(timeout=STALL + source.block / source.rate)
            except queue.Empty:
                return
            if item is None:
                return
            samples, gap = item
            if gap:
                logger.warning("%s: overflow, audio was lost before this block", source.name)
            yield samples
