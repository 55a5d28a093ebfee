"""The one reader of sound files and pipes: mono blocks at the model's rate, in flat memory whatever the length."""

from __future__ import annotations

import logging
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from edge_asc.audio import flac, mpeg, ogg, wav
from edge_asc.audio.bytestream import Pipe, Window, display, file_size, id3_size, truncation_error
from edge_asc.audio.mixing import Downmix
from edge_asc.audio.part import FILE_BLOCK, PIPE_BLOCK, Part
from edge_asc.audio.pcm import PcmFormat
from edge_asc.audio.resampling import Resampler
from edge_asc.errors import AudioError
from edge_asc.frontend import LOUDEST, Array, are_unscaled

logger = logging.getLogger(__name__)

RATES = (1000, 768000)  # range of sample rates, Hz
STDIN = "-"


def stream(path: str | Path, sample_rate: int = 16000, *, raw: PcmFormat | None = None) -> Iterator[Array]:
    """Yield the samples of a sound file or pipe, blocks of (n,), mono at `sample_rate` Hz, full scale at ±1.

    The blocks together are what `read` returns, bit for bit. Memory does not grow with the length. A pipe, such as
    /dev/stdin or a FIFO, is read as it comes, and its length may be open; it holds a WAV, or `raw` samples.

    Args:
        path: of the file; "-" for the standard input.
        sample_rate: Hz.
        raw: how samples without a header stand in the source; None for a source with a header.

    Raises:
        AudioError: as `read` does, when the reader gets there; what came before was yielded.
    """
    name = "standard input" if str(path) == STDIN else display(path)
    with _open(path, name) as file:
        for block in _to_mono(_parts(file, path, name, raw), name, sample_rate):
            if len(block):
                yield block


def read(path: str | Path, sample_rate: int = 16000) -> Array:
    """Read the samples of a sound file, (n,), mono at `sample_rate` Hz, full scale at ±1.

    The file may have any format of libsndfile, rate, bit depth and number of channels; with PyAV, other formats too.
    Channels are averaged (`edge_asc.audio.mixing` says what happens where they cancel) and the level is kept, so that
    float files may exceed ±1. A warning is logged where the header leaves the length open or is wrong about it.

    Raises:
        AudioError: the file is missing, empty, truncated or not audio, or holds NaN or infinities.
        MissingExtraError: the format needs PyAV, which is not installed.
    """
    return np.concatenate(list(stream(path, sample_rate)))


def probe(path: str | Path) -> None:
    """Check a sound file as far as its header goes, without decoding it.

    Raises:
        AudioError: the file is missing, empty, not audio, or visibly truncated.
        MissingExtraError: the format needs PyAV, which is not installed.
    """
    name = display(path)
    with _open(path, name) as file:
        _check(next(_parts(file, path, name, None), None), name)


@dataclass(frozen=True)
class Measures:
    """What a sound file holds.

    Attributes:
        seconds: length of the audio.
        rate: sample rate, Hz; that of the first part where several files were joined.
        channels: number of channels, likewise.
    """

    seconds: float
    rate: int
    channels: int


def measure(path: str | Path) -> Measures:
    """Return length, rate and channels of a sound file: by its header where that is exact, or else by decoding it.

    Raises:
        AudioError: the file is missing, empty, not audio, or visibly truncated.
        MissingExtraError: the format needs PyAV, which is not installed.
    """
    name = display(path)
    seconds, rate, channels = 0.0, 0, 0
    with _open(path, name) as file:
        for index, part in enumerate(_parts(file, path, name, None)):
            if index == 0:
                _check(part, name)
                rate, channels = part.rate, part.channels
            frames = part.frames
            counted = sum(len(block) for block in part.blocks) if frames is None else frames
            seconds += counted / part.rate
    return Measures(seconds, rate, channels)


def duration(path: str | Path) -> float:
    """Return the seconds of audio in a sound file, as `measure` does."""
    return measure(path).seconds


@contextmanager
def _open(path: str | Path, name: str) -> Iterator[BinaryIO]:
    """Yield the open file or pipe."""
    if str(path) == STDIN:
        if sys.stdin is None:
            raise AudioError("standard input: is closed; expected audio from a pipe")
        yield sys.stdin.buffer
        return
    path = Path(path)
    check_path(path, name)
    try:
        file = path.open("rb")
    except OSError as error:
        raise AudioError(f"{name}: cannot be opened ({error.strerror}); expected a sound file") from error
    with file:
        yield file


def check_path(path: Path, name: str = "") -> None:
    """Check that a file, or a pipe, is there; nothing is read.

    Args:
        path: of it; STDIN stands for the standard input.
        name: for the message, instead of the path.

    Raises:
        AudioError: nothing is there, or a folder.
    """
    if str(path) != STDIN and (not path.exists() or path.is_dir()):
        problem = "is a folder" if path.exists() else "no such file"
        raise AudioError(f"{name or display(path)}: {problem}; expected a sound file: check the path")


def is_pipe(path: str | Path) -> bool:
    """Return whether a source is read as it comes, such as a FIFO, rather than a regular file."""
    if str(path) == STDIN and sys.stdin is None:
        return True
    try:
        status = os.fstat(sys.stdin.fileno()) if str(path) == STDIN else Path(path).stat()
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(status.st_mode)


def _parts(file: BinaryIO, path: str | Path, name: str, raw: PcmFormat | None) -> Iterator[Part]:
    pipe = is_pipe(path)
    block = PIPE_BLOCK if pipe else FILE_BLOCK
    if raw is not None:
        yield Part(raw.rate, raw.channels, None, raw.blocks(Pipe(file), block, None))
    elif pipe:
        yield from _pipe_parts(Pipe(file), name, block)
    else:
        yield from _file_parts(file, path, name)


def _pipe_parts(pipe: Pipe, name: str, block: int) -> Iterator[Part]:
    head = pipe.peek(12)
    if not head:
        raise AudioError(f"{name}: is empty (0 bytes); expected audio: check the command that writes to the pipe")
    if not wav.is_wav(head):
        raise AudioError(
            f"{name}: does not start with a WAV header; expected one from a pipe: give --format and --rate for samples "
            "without a header, or convert with: ffmpeg -i INPUT -f wav -"
        )
    yield from wav.pipe_parts(pipe, name, block)


def _file_parts(file: BinaryIO, path: str | Path, name: str) -> Iterator[Part]:
    size = file_size(file)
    if not size:
        raise AudioError(f"{name}: is empty (0 bytes); expected a sound file: record or fetch it again")
    file.seek(0)
    head = file.read(12)
    if wav.is_wav(head):
        yield from _wav_parts(file, name, size)
        return
    start = 0
    while tag := id3_size(head):
        start += tag
        file.seek(start)
        head = file.read(12)
    if head.startswith(ogg.MAGIC):
        yield from _ogg_parts(file, name)
    elif head.startswith(flac.MAGIC):
        yield from flac.parts(file, name, start)
    elif start or mpeg.parse_frame(head) or Path(path).suffix.lower() == ".mp3":
        yield from mpeg.parts(file, name, start, size)
    else:
        yield from _other_parts(file, path, name)


def _wav_parts(file: BinaryIO, name: str, size: int) -> Iterator[Part]:
    file.seek(0)
    header = wav.read_header(Pipe(file), name)
    if header.pcm is not None:
        yield from wav.file_parts(file, name, size, FILE_BLOCK)
        return
    data = wav.data_size(header, size, name)
    if header.kind in wav.MPEG:
        yield from mpeg.parts(file, name, header.start, header.start + data)
        return
    # libsndfile takes 0 for the size where the header leaves it open.
    patch = (header.start - 4, min(data, wav.STREAMED).to_bytes(4, "little")) if not header.size else (0, b"")
    yield from _libsndfile_parts(file, Window(file, patch=patch), name)


def _ogg_parts(file: BinaryIO, name: str) -> Iterator[Part]:
    from edge_asc.audio.libsndfile import open_part

    for index, (start, end) in enumerate(ogg.links(file, name)):
        if index == 1:
            logger.warning("%s: several Ogg streams follow each other in one file; all are read", name)
        yield open_part(Window(file, start, end), name)


def _other_parts(file: BinaryIO, path: str | Path, name: str) -> Iterator[Part]:
    if Path(path).suffix.lower() == ".raw":
        raise AudioError(
            f"{name}: raw samples have no header; expected a sound file: convert it to WAV, or give --format and --rate"
        )
    yield from _libsndfile_parts(file, Window(file), name)


def _libsndfile_parts(file: BinaryIO, window: Window, name: str) -> Iterator[Part]:
    from edge_asc.audio import pyav
    from edge_asc.audio.libsndfile import UnknownFormatError, open_part

    try:
        part = open_part(window, name)
    except UnknownFormatError:
        file.seek(0)
        if not pyav.guess_format(file.read(12)):
            raise
    else:
        yield part
        return
    yield from pyav.parts(file, name)


def _to_mono(parts: Iterator[Part], name: str, sample_rate: int) -> Iterator[Array]:
    """Mix, resample and count the samples of all parts."""
    downmix = Downmix(name)
    resampler = Resampler(sample_rate, sample_rate)
    frames = total = 0
    for part in parts:
        _check(part, name)
        if resampler.source != part.rate:
            yield (rest := resampler.finish())
            total += len(rest)
            resampler = Resampler(part.rate, sample_rate)
        count = 0
        for block in part.blocks:
            _check_block(block, name, count / part.rate)
            count += len(block)
            mono = resampler.push(downmix.mix(block))
            total += len(mono)
            yield mono
        if part.frames is not None and count < part.frames:
            raise truncation_error(name, f"{count} frames", f"the {part.frames} that its header promises")
        frames += count
    rest = resampler.finish()
    if not total + len(rest):
        raise AudioError(
            f"{name}: lasts {frames} frames at {resampler.source} Hz; expected at least one sample "
            f"at {sample_rate} Hz: use a longer recording"
        )
    yield rest


def _check(part: Part | None, name: str) -> None:
    """Check the header of a part."""
    if part is not None and not RATES[0] <= part.rate <= RATES[1]:
        raise AudioError(f"{name}: its header says {part.rate} Hz; expected {RATES[0]} to {RATES[1]}: export it again")
    if part is None or part.frames == 0:
        raise AudioError(f"{name}: is empty (0 frames); expected audio: record or fetch it again")


def _check_block(block: Array, name: str, time: float) -> None:
    """Check samples, (n, channels), which start at a time, s."""
    peak = float(np.abs(block).max(initial=0.0))
    if peak <= 1.0:
        return
    if not np.isfinite(block).all():
        bad = block.size - int(np.isfinite(block).sum())
        raise AudioError(
            f"{name}: holds {bad} NaN or infinite samples near {time:.2f} s; expected finite ones: "
            "export the recording again"
        )
    if peak > LOUDEST or are_unscaled(block):
        raise AudioError(
            f"{name}: samples reach {peak:g} near {time:.2f} s; expected about [-1, 1]: "
            "scale the recording and export it again"
        )
