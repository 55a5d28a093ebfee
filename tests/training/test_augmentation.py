from __future__ import annotations

import math

import numpy as np
import pytest
from msgspec import structs

from edge_asc.frontend import FrontEnd, LogMel
from edge_asc.training.augmentation import (
    apply_levels,
    draw_gain,
    find_active_frames,
    mask,
    mix,
    to_log_mel,
    to_power,
    warp_bins,
    warp_rows,
)
from edge_asc.training.recipe import Augmentation

FLOOR = FrontEnd().floor


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def log_mel(seconds: float = 1.0) -> np.ndarray:
    return LogMel()(generator().normal(0.0, 0.1, round(16000 * seconds)))


def test_gain_is_that_of_the_samples() -> None:
    samples = generator().normal(0.0, 0.1, 16000)
    power = to_power(LogMel()(samples), FLOOR)[None]
    apply_levels(power, Augmentation(gain=(-30.0, -30.0)), generator())
    np.testing.assert_allclose(to_log_mel(power, FLOOR)[0], LogMel()(samples * 10**-1.5), atol=2e-3)


def test_power_and_back() -> None:
    x = log_mel()
    np.testing.assert_allclose(to_log_mel(to_power(x, FLOOR), FLOOR), x, atol=1e-5)
    assert to_power(np.full((2, 3), np.log(FLOOR) - 1.0, np.float32), FLOOR).min() == 0.0


def test_drawn_gains() -> None:
    gains = draw_gain(Augmentation(gain=(-40.0, 5.0), gain_kept=0.3), 4000, generator())
    assert -40.0 <= gains.min() < -38.0
    assert 4.0 < gains.max() <= 6.0
    near = np.mean((gains > -6.0) & (gains < 6.0))
    assert near == pytest.approx(0.3 + 0.7 * 11.0 / 45.0, abs=0.03)
    assert (draw_gain(Augmentation(), 5, generator()) == 0.0).all()


def test_equaliser_is_smooth_and_bounded() -> None:
    power = np.ones((8, 4, 256), np.float32)
    apply_levels(power, Augmentation(equaliser=4.0), generator())
    decibels = 10.0 * np.log10(power)
    assert np.abs(decibels).max() <= 4.0 + 1e-4
    assert np.abs(np.diff(decibels, axis=2)).max() <= 8.0 / 51.0 + 1e-4  # five segments of 51 bins
    assert (decibels == decibels[:, :1]).all()  # the same for every frame
    assert len(np.unique(decibels[:, 0, 0])) == 8  # another for every crop


def test_active_frames() -> None:
    x = np.full((10, 256), math.log(FLOOR), np.float32)
    x[3], x[4], x[5] = 0.0, 0.0 - 10.0, 0.0 - 11.0  # 0, −43.4 and −47.8 dB
    assert find_active_frames(x, FLOOR).tolist() == [3, 4]
    silent = np.full((3, 256), math.log(FLOOR), np.float32)
    assert find_active_frames(silent, FLOOR).tolist() == [0, 1, 2]


def test_rows_stretch_and_repeat() -> None:
    assert warp_rows(2, 4, 1.0, 10).tolist() == [2, 3, 4, 5]
    assert warp_rows(0, 4, 1.5, 10).tolist() == [0, 1, 3, 4]
    assert warp_rows(0, 4, 0.5, 10).tolist() == [0, 0, 1, 1]
    assert warp_rows(0, 5, 1.0, 3).tolist() == [0, 1, 2, 0, 1]


def test_bins_shift_and_scale() -> None:
    assert (warp_bins(Augmentation(), 256, generator()) == np.arange(256)).all()
    for seed in range(20):
        bins = warp_bins(Augmentation(mel_shift=6.0), 256, generator(seed))
        inside = bins[10:-10] - np.arange(10, 246)
        assert len(set(inside)) == 1
        assert abs(inside[0]) <= 6
        scaled = warp_bins(Augmentation(mel_scale=0.06), 256, generator(seed))
        assert scaled.min() >= 0
        assert scaled.max() <= 255
        assert (np.diff(scaled) >= 0).all()


def test_mixed_levels_follow_the_share() -> None:
    """At equal levels the amplitudes stand as the shares; a quieter sound is taken louder (Tokozume et al., eq. 2)."""
    one, other = np.full((3, 2, 4), 1.0, np.float32), np.full((3, 2, 4), 100.0, np.float32)
    share = np.array([0.25, 0.5, 0.75])
    same = mix(one, one.copy(), share)
    np.testing.assert_allclose(same, 1.0, rtol=1e-6)  # powers add up to what they were
    mixed = mix(one, other, np.array([0.5, 0.5, 0.5]))
    p = 1.0 / (1.0 + 10.0**-1.0)  # 20 dB quieter: ten times the amplitude of the other
    expected = (p**2 * 1.0 + (1.0 - p) ** 2 * 100.0) / (p**2 + (1.0 - p) ** 2)
    np.testing.assert_allclose(mixed, expected, rtol=1e-5)


def test_masks_are_filled_with_the_mean() -> None:
    config = Augmentation(mel_masks=1, mel_mask=32)
    x = np.ones((64, 16, 256), np.float32)
    mask(x, config, generator())
    masked = (x == 0.0).all(axis=1)
    assert (masked | (x == 1.0).all(axis=1)).all()  # whole bins
    assert 0 < masked.sum(axis=1).max() < 32
    assert len(np.unique(masked.sum(axis=1))) > 10
    time = np.ones((64, 16, 256), np.float32)
    mask(time, Augmentation(time_masks=2, time_mask=40), generator())
    assert 0.0 < (time == 0.0).all(axis=2).mean() < 1.0
    untouched = np.ones((2, 16, 256), np.float32)
    mask(untouched, structs.replace(config, mel_masks=0), generator())
    assert (untouched == 1.0).all()
