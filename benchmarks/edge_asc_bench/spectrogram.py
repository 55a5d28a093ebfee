"""The log-mel spectrogram of a recording, for a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_asc import audio
from edge_asc.errors import EdgeAscError
from edge_asc.frontend import Array, FrontEnd, LogMel

# Mel bins and columns of a picture; recordings that last longer, s, have none.
MELS, COLUMNS, LONGEST = 64, 600, 3600.0


@dataclass(frozen=True)
class Spectrogram:
    """A spectrogram.

    Attributes:
        levels: natural logarithm of the mel power, (mels, columns); the lowest frequency first.
        seconds: of audio in all columns.
        bins: centre of each mel bin, Hz, (mels,).
    """

    levels: Array
    seconds: float
    bins: Array


def compute_spectrogram(path: Path) -> Spectrogram | None:
    """Compute the spectrogram of a sound file; None where it cannot be read, is longer than LONGEST or holds no frame.

    Frames of a long recording are averaged in pairs, and the pairs again, until COLUMNS are enough.
    """
    front_end = FrontEnd(mels=MELS)
    log_mel, most = LogMel(front_end), 2 * COLUMNS
    frames, rest, every, samples = np.empty((0, MELS), np.float32), np.empty((0, MELS), np.float32), 1, 0
    try:
        for block in audio.stream(path, front_end.sample_rate):
            samples += len(block)
            if samples > LONGEST * front_end.sample_rate:
                return None
            rest = np.concatenate([rest, log_mel.push(block)])
            whole = len(rest) // every * every
            frames = np.concatenate([frames, _average(rest[:whole], every)])
            rest = rest[whole:]
            while len(frames) >= most:
                odd = frames[len(frames) // 2 * 2 :]
                rest = np.concatenate([np.repeat(odd, every, axis=0), rest])
                frames, every = _average(frames[: len(frames) // 2 * 2], 2), 2 * every
    except (EdgeAscError, OSError):
        return None
    if not len(frames):
        return None
    peaks = front_end.mel_matrix.argmax(axis=1)
    bins = (np.asarray(peaks).ravel() * (front_end.sample_rate / front_end.window)).astype(np.float32)
    return Spectrogram(frames.T, len(frames) * every * front_end.hop / front_end.sample_rate, bins)


def _average(frames: Array, every: int) -> Array:
    """Means of so many frames each; (frames, mels)."""
    means: Array = frames.reshape(-1, every, frames.shape[1]).mean(axis=1) if len(frames) else frames
    return means
