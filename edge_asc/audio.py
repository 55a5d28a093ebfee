"""Audio files and the microphone: every source gives mono float32 samples."""

from __future__ import annotations

import logging
import queue
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge_asc.errors import AudioError, require
from edge_asc.files import atomic_path
from edge_asc.frontend import LOUDEST, Array, check_samples

logger = logging.getLogger(__name__)

STREAMED = 0xFFFFFFFF  # the size in a WAV written to a pipe, or in an RF64 whose sizes are in its ds64 chunk
UNKNOWN = 2**63 - 1  # libsndfile's frame count where the header leaves it open
PCM = (1, 3, 0xFFFE)  # integer, float, extensible
RATES = (1000, 768000)  # range of sample rates, Hz
OGG_PAGE = 65307  # the longest page, bytes
BACKLOG = 64  # microphone blocks kept for a slow reader


def read(path: str | Path, sample_rate: int = 16000) -> Array:
    """Read the samples of a sound file, (n,), mono at `sample_rate` Hz, full scale at ±1.

    The file may have any format of libsndfile, rate, bit depth and number of channels. Channels are averaged and the
    level is kept, so that float files may exceed ±1.

    Raises:
        AudioError: the file is missing, empty, truncated or not audio, or holds NaN or infinities.
    """
    import soxr

    path = Path(path)
    with _open(path) as file:
        rate, promised = file.samplerate, file.frames
        try:
            # In one read: soundfile seeks after every read, which is inexact in MP3.
            data = file.read(dtype="float32", always_2d=True)
        except (MemoryError, ValueError) as error:
            raise AudioError(
                f"{path}: its header promises {promised} frames, more than fit into memory; "
                "expected a whole recording: fetch the file again, or split it"
            ) from error
    if len(data) < promised:
        raise _truncation_error(path, f"{len(data)} frames", f"the {promised} that its header promises")
    bad = data.size - int(np.isfinite(data).sum())
    if bad:
        raise AudioError(
            f"{path}: holds {bad} NaN or infinite samples; expected finite ones: export the recording again"
        )
    mono: Array = data.mean(axis=1)
    if (peak := float(np.abs(mono).max(initial=0.0))) > LOUDEST:
        raise AudioError(
            f"{path}: samples reach {peak:g}; expected about [-1, 1]: scale the recording and export it again"
        )
    if rate != sample_rate:
        mono = soxr.resample(mono, rate, sample_rate, quality="HQ")
    if not len(mono):
        raise AudioError(
            f"{path}: lasts {promised} frames at {rate} Hz; expected at least one sample "
            f"at {sample_rate} Hz: use a longer recording"
        )
    return mono


def duration(path: str | Path) -> float:
    """Return the seconds of audio in a sound file, from its header alone.

    Raises:
        AudioError: the file is missing, empty, not audio, or visibly truncated.
    """
    with _open(Path(path)) as file:
        return float(file.frames / file.samplerate)


def write(
    path: str | Path,
    samples: npt.ArrayLike,
    sample_rate: int = 16000,
    subtype: Literal["PCM_16", "FLOAT"] = "PCM_16",
) -> None:
    """Write `samples`, (n,) float with full scale at ±1, to a mono WAV file, atomically.

    16-bit files clip at full scale; float files keep every value.

    Raises:
        AudioError: samples are not one-dimensional float, or hold NaN or infinities; nothing is written.
    """
    import soundfile

    samples = check_samples(samples)
    with atomic_path(Path(path)) as temporary:
        soundfile.write(temporary, samples, sample_rate, format="WAV", subtype=subtype)


def microphone(sample_rate: int = 16000, block: int = 1024, device: int | str | None = None) -> Iterator[Array]:
    """Yield live blocks of mono samples, each (block,) at `sample_rate` Hz, until the generator is closed.

    Blocks wait in a short queue for a slow reader. When the queue overflows, audio is lost and a warning is logged.

    Args:
        sample_rate: Hz.
        block: samples in a block.
        device: number or part of the name of an input of `python -m sounddevice`; None for the default one.

    Raises:
        MissingExtraError: sounddevice is not installed.
        AudioError: PortAudio is not installed, or the device cannot record, or stopped.
    """
    try:
        sounddevice = require("sounddevice", "microphone")
    except OSError as error:
        raise AudioError(
            f"microphone: {error}; expected the PortAudio library: install it with: apt install libportaudio2"
        ) from error

    name = "microphone" if device is None else f"microphone {device!r}"
    blocks: queue.SimpleQueue[tuple[Array, bool] | None] = queue.SimpleQueue()
    lost = False

    def callback(data: Array, frames: int, time: Any, status: Any) -> None:
        nonlocal lost
        lost = lost or bool(status.input_overflow)
        if blocks.qsize() < BACKLOG:
            blocks.put((data[:, 0].copy(), lost))
            lost = False
        else:
            lost = True

    try:
        with sounddevice.InputStream(
            samplerate=sample_rate,
            blocksize=block,
            device=device,
            channels=1,
            dtype="float32",
            callback=callback,
            finished_callback=lambda: blocks.put(None),
        ):
            while (item := blocks.get()) is not None:
                samples, gap = item
                if gap:
                    logger.warning("%s: overflow, audio was lost before this block", name)
                yield samples
    except (sounddevice.PortAudioError, ValueError) as error:
        raise AudioError(
            f"{name}: {error}; expected an input that records mono at {sample_rate} Hz: "
            "list the devices with: python -m sounddevice"
        ) from error
    raise AudioError(f"{name}: the device stopped; expected audio until closed: check that it is plugged in")


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Yield the open soundfile.SoundFile of `path`, checked as far as headers go."""
    import soundfile

    if not path.is_file():
        problem = "is not a regular file" if path.exists() else "no such file"
        raise AudioError(f"{path}: {problem}; expected a sound file: check the path")
    if not path.stat().st_size:
        raise AudioError(f"{path}: is empty (0 bytes); expected a sound file: record or fetch it again")
    if path.suffix.lower() == ".raw":
        raise AudioError(f"{path}: raw samples have no header; expected a sound file: convert it to WAV")
    try:
        with soundfile.SoundFile(path) as file:
            _check_sizes(path, file)
            yield file
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{path}: cannot be decoded ({error.error_string.strip(' .')}); expected a whole sound file, "
            "such as WAV, FLAC, OGG or MP3: fetch or convert it again"
        ) from error


def _check_sizes(path: Path, file: Any) -> None:
    """Check that a file does not end before its headers say; libsndfile shortens most such files silently."""
    length = path.stat().st_size
    if file.format in ("WAV", "WAVEX", "RF64"):
        _check_wav_format(path)
        for name, end in _wav_ends(path):
            if end > length:
                raise _truncation_error(
                    path, f"{length} bytes", f"at least {end}, where its header ends the {name} chunk"
                )
    elif file.format == "OGG":
        if not _ogg_ends(path):
            raise _truncation_error(path, f"{length} bytes", "a last page, whole and marked as the end of the stream")
    else:
        # AIFF, SVX, W64, CAF, AU: libsndfile logs the sizes that it shortens.
        for name, promised, end in re.findall(r"(\w+) *: (\d+) \(should be (\d+)\)", file.extra_info):
            if name in ("FORM", "SSND", "BODY", "riff", "data", "Size") and int(promised) > int(end):
                raise _truncation_error(path, f"{end} bytes", f"the {promised} that its header promises")
    if not RATES[0] <= file.samplerate <= RATES[1]:
        raise AudioError(
            f"{path}: its header says {file.samplerate} Hz; expected {RATES[0]} to {RATES[1]}: export it again"
        )
    if not file.frames:
        raise AudioError(f"{path}: is empty (0 frames); expected audio: record or fetch it again")
    if file.frames == UNKNOWN:
        raise AudioError(f"{path}: its header leaves its length open; expected the number of frames: convert it to WAV")


def _check_wav_format(path: Path) -> None:
    """Check that the numbers of a PCM or float format chunk agree; libsndfile reads noise where they do not."""
    with path.open("rb") as file:
        head = file.read(4096)
    order = ">" if head.startswith(b"RIFX") else "<"
    at = head.find(b"fmt ", 12)
    if at < 0 or len(head) < at + 24:
        return
    kind, channels, rate, byte_rate, frame, bits = struct.unpack(order + "HHIIHH", head[at + 8 : at + 24])
    if kind in PCM and (frame != channels * ((bits + 7) // 8) or byte_rate != rate * frame):
        raise AudioError(
            f"{path}: its header contradicts itself: got {channels} channels of {bits} bits at {rate} Hz in frames "
            f"of {frame} bytes, {byte_rate} bytes/s; expected {channels * ((bits + 7) // 8)} bytes and "
            f"{rate * channels * ((bits + 7) // 8)} bytes/s: export the recording again"
        )


def _wav_ends(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the ends of a WAV file's data and RIFF chunks by its headers, bytes from the start of the file."""
    with path.open("rb") as file:
        order = ">" if file.read(4) == b"RIFX" else "<"
        riff, _ = struct.unpack(order + "I4s", file.read(8))
        riff64 = data64 = STREAMED
        while len(head := file.read(8)) == 8:
            name, size = struct.unpack(order + "4sI", head)
            start = file.tell()
            if name == b"ds64":
                riff64, data64 = struct.unpack("<QQ", file.read(16))
            if name == b"data":
                size = data64 if size == STREAMED else size
                if size != STREAMED:
                    yield "data", start + size
                break
            file.seek(start + size + size % 2)
        riff = riff64 if riff == STREAMED else riff
        if riff != STREAMED:
            # Many writers count the pad byte of an odd last chunk and leave it out.
            yield "RIFF", 8 + riff - 1


def _ogg_ends(path: Path) -> bool:
    """Return whether the last page of an Ogg file is complete and marked as the end of its stream."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2 * OGG_PAGE))
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    segments = page[26] if len(page) > 26 else len(page)
    size = 27 + segments + sum(page[27 : 27 + segments])
    return len(page) >= size and bool(page[5] & 4)


def _truncation_error(path: Path, actual: str, expected: str) -> AudioError:
    return AudioError(f"{path}: is truncated: got {actual}; expected {expected}: fetch or record it again")
