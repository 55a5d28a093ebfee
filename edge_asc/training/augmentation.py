"""Random changes of training crops, in NumPy: warps, between-class mixing, gain and equaliser, masks."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edge_asc.frontend import MELS
from edge_asc.training.recipe import Augmentation

Array = npt.NDArray[np.float32]

KEPT_DB = 6.0
ACTIVE_DB = -45.0
KNOTS = 6
SILENT_POWER = 1e-7


def to_power(log_mel: Array, floor: float) -> Array:
    """Linear mel power of log-mel of any shape."""
    power = np.exp(log_mel)
    power -= np.float32(floor)
    return np.maximum(power, np.float32(0.0), out=power)


def to_log_mel(power: Array, floor: float) -> Array:
    """Log-mel of linear mel power of any shape; `power` is overwritten."""
    power += np.float32(floor)
    return np.log(power, out=power)


def find_active_frames(log_mel: Array, floor: float) -> npt.NDArray[np.intp]:
    """Numbers of the frames of (frames, mels) within 45 dB of the loudest one; all of a clip of digital silence."""
    total = to_power(np.array(log_mel), floor).sum(axis=1, dtype=np.float64)
    return np.flatnonzero(total >= total.max() * 10.0 ** (ACTIVE_DB / 10.0))


def draw_gain(config: Augmentation, count: int, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Input gain of each crop, dB, (count,)."""
    gain = generator.uniform(*config.gain, count)
    kept = generator.random(count) < config.gain_kept
    return np.where(kept, generator.uniform(-KEPT_DB, KEPT_DB, count), gain)


def warp_rows(first: int, frames: int, rate: float, length: int) -> npt.NDArray[np.intp]:
    """Numbers of the clip's frames that a crop consists of: nearest at this time rate; a short clip repeats."""
    numbers: npt.NDArray[np.intp] = (first + (np.arange(frames) * rate).astype(np.intp)) % length
    return numbers


def warp_bins(config: Augmentation, mels: int, generator: np.random.Generator) -> npt.NDArray[np.intp]:
    """Numbers of the mel bins that stand in for each bin: the axis scaled about a random bin, and shifted."""
    scale = 1.0 + generator.uniform(-config.mel_scale, config.mel_scale)
    centre = generator.uniform(0.0, mels)
    shift = generator.uniform(-config.mel_shift, config.mel_shift) * mels / MELS
    bins = np.rint((np.arange(mels) - centre) * scale + centre + shift)
    numbers: npt.NDArray[np.intp] = np.clip(bins, 0, mels - 1).astype(np.intp)
    return numbers


def draw_rate(config: Augmentation, generator: np.random.Generator) -> float:
    """The time rate of a crop: above 1 it plays faster."""
    return math.exp(generator.uniform(-config.time_stretch, config.time_stretch))


def holds_sound(power: Array) -> npt.NDArray[np.bool_]:
    """Whether each crop of linear mel power (B, frames, mels) is more than silence, whose level says nothing."""
    result: npt.NDArray[np.bool_] = power.mean(axis=(1, 2)) > SILENT_POWER
    return result


def mix(own: Array, other: Array, share: npt.NDArray[np.float64]) -> Array:
    """Mix linear mel power, each (B, frames, mels), such that `own` has the `share` of the loudness.

    The amplitudes follow from the levels of both (Tokozume et al., 2018, eq. 2); phases are taken as random, so that
    powers add. A share is within (0, 1).
    """
    levels = [10.0 * np.log10(power.mean(axis=(1, 2), dtype=np.float64) + 1e-9) for power in (own, other)]
    p = 1.0 / (1.0 + 10.0 ** ((levels[0] - levels[1]) / 20.0) * (1.0 - share) / share)
    mine, theirs = p * p / (p * p + (1.0 - p) ** 2), (1.0 - p) ** 2 / (p * p + (1.0 - p) ** 2)
    mixed: Array = own * mine.astype(np.float32)[:, None, None] + other * theirs.astype(np.float32)[:, None, None]
    return mixed


def apply_levels(power: Array, config: Augmentation, generator: np.random.Generator) -> None:
    """Scale linear mel power (B, frames, mels) in place by a random gain and equaliser of each crop."""
    count, _, mels = power.shape
    decibels = draw_gain(config, count, generator)[:, None]
    if config.equaliser:
        knots = generator.uniform(-config.equaliser, config.equaliser, (count, KNOTS))
        position = np.linspace(0.0, KNOTS - 1.0, mels)
        low = np.minimum(position.astype(np.intp), KNOTS - 2)
        decibels = decibels + knots[:, low] * (1.0 - position + low) + knots[:, low + 1] * (position - low)
    power *= (10.0 ** (decibels / 10.0)).astype(np.float32)[:, None, :]


def mask(features: Array, config: Augmentation, generator: np.random.Generator) -> None:
    """Fill SpecAugment's masks of normalised log-mel (B, frames, mels) in place with 0, the training mean."""
    frames, mels = features.shape[1:]
    for crop in features:
        for _ in range(config.mel_masks):
            width = int(generator.uniform(0.0, min(config.mel_mask * mels / MELS, mels)))
            first = generator.integers(mels - width + 1)
            crop[:, first : first + width] = 0.0
        for _ in range(config.time_masks):
            width = int(generator.uniform(0.0, min(config.time_mask, frames)))
            first = generator.integers(frames - width + 1)
            crop[first : first + width] = 0.0
