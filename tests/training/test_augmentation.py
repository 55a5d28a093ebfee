from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_asc.frontend import FrontEnd, LogMel
from edge_asc.training.augmentation import apply_gain, augment_audio, draw_gain, mask, mixup, warp
from edge_asc.training.recipe import SMALL, Augmentation

torch.set_num_threads(1)  # the batches are too small to share, and the machine may be busy

FLOOR = 1e-8


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def log_mel(batch: int = 4, mels: int = 32, time: int = 24) -> Tensor:
    return torch.randn(batch, 1, mels, time, generator=generator(9)) * 2 - 10


@pytest.mark.parametrize("decibels", [-60.0, -35.0, -3.0, 5.0])
def test_gain_equals_features_of_scaled_samples(decibels: float) -> None:
    front_end = FrontEnd(floor=FLOOR)
    # Loud, quiet and silent parts, so that the floor matters.
    envelope = np.repeat(np.array([0.3, 0.003, 0.0], np.float32), 8192)
    samples = np.random.default_rng(0).normal(0, 1, len(envelope)).astype(np.float32) * envelope
    raw = torch.from_numpy(LogMel(front_end)(samples))
    scaled = LogMel(front_end)(samples * np.float32(10 ** (decibels / 20)))
    assert scaled.min() == pytest.approx(np.log(FLOOR), abs=1e-4)
    found = apply_gain(raw, torch.tensor(decibels), FLOOR)
    torch.testing.assert_close(found, torch.from_numpy(scaled), atol=2e-3, rtol=0)


def test_gain_broadcasts_over_clips() -> None:
    x = log_mel()
    decibels = torch.tensor([-20.0, 0.0, 3.0, 10.0])
    together = apply_gain(x, decibels.view(-1, 1, 1, 1), FLOOR)
    for i in range(4):
        torch.testing.assert_close(together[i], apply_gain(x[i], decibels[i], FLOOR))
    torch.testing.assert_close(together[1], x[1], atol=1e-3, rtol=0)


def test_gain_is_drawn_from_its_range() -> None:
    config = Augmentation(gain=(-35.0, -10.0), gain_kept=0.4)
    gain = draw_gain(config, 4000, generator())
    kept = gain.abs() <= 3.0
    assert 0.35 < kept.double().mean() < 0.45
    assert ((gain[~kept] >= -35.0) & (gain[~kept] < -10.0)).all()
    assert gain[~kept].min() < -34.0
    assert gain[~kept].max() > -11.0


def test_nothing_is_on_by_default() -> None:
    x = log_mel()
    assert torch.equal(augment_audio(x, Augmentation(), FLOOR, generator()), x)
    assert torch.equal(mask(x, Augmentation(), generator()), x)


def test_trivial_warp_is_the_identity() -> None:
    x = log_mel()
    torch.testing.assert_close(warp(x, Augmentation(), generator()), x, atol=1e-4, rtol=0)


def test_warp_moves_the_mel_axis_and_time() -> None:
    mels = torch.arange(32.0).view(1, 1, -1, 1).expand(8, 1, 32, 24).contiguous()
    shifted = warp(mels, Augmentation(mel_shift=0.1), generator())
    offsets = shifted[:, 0, 16, 0] - 16.0
    assert offsets.abs().max() <= 0.1 * 31 + 1e-3
    assert offsets.unique().numel() == 8
    torch.testing.assert_close(shifted, shifted[..., :1].expand_as(shifted), atol=1e-4, rtol=0)

    time = torch.arange(24.0).view(1, 1, 1, -1).expand(8, 1, 32, 24).contiguous()
    stretched = warp(time, Augmentation(time_scale=0.8), generator())
    torch.testing.assert_close(stretched[..., 0], torch.zeros(8, 1, 32), atol=1e-4, rtol=0)
    last = stretched[:, 0, 0, -1] / 23.0
    assert ((last > 0.8 - 1e-4) & (last <= 1.0)).all()
    assert last.unique().numel() == 8


def test_equaliser_is_smooth_and_bounded() -> None:
    x = torch.full((4, 1, 64, 3), -5.0)
    change = augment_audio(x, Augmentation(equaliser=3.0), FLOOR, generator()) - x
    decibels = change * 10 / np.log(10.0)
    # Gain is off, but a kept level would vary by 3 dB.
    assert decibels.abs().max() <= 3.0 + 1e-2
    assert decibels.std() > 0.5
    assert (decibels[:, :, 1:] - decibels[:, :, :-1]).abs().max() <= 6.0 / (63 / 5) + 1e-2


def test_roll_keeps_every_frame() -> None:
    x = log_mel()
    rolled = augment_audio(x, Augmentation(roll=True), FLOOR, generator())
    assert not torch.equal(rolled, x)
    for before, after in zip(x, rolled, strict=True):
        assert any(torch.equal(before.roll(shift, dims=2), after) for shift in range(24))


def test_mixup_mixes_features_and_targets_alike() -> None:
    classes = torch.arange(6)
    targets = torch.nn.functional.one_hot(classes).float()
    features = classes.float().view(-1, 1, 1, 1).expand(6, 1, 4, 3)
    mixed, soft = mixup(features, targets, 0.3, generator(1))
    torch.testing.assert_close(soft.sum(1), torch.ones(6))
    # Features were the number of their class: mixed, they are the mean number under the mixed targets.
    mean = soft @ classes.float()
    torch.testing.assert_close(mixed, mean.view(-1, 1, 1, 1).expand_as(mixed), atol=1e-5, rtol=0)
    assert (soft.diagonal() >= 0.5 - 1e-6).all()
    assert (soft > 0).sum() > 6
    assert torch.equal(mixup(features, targets, 0.3, generator(1))[0], mixed)


def test_masks_zero_whole_bands() -> None:
    x = torch.ones(16, 1, 40, 30)
    mel = mask(x, Augmentation(mel_masks=1, mel_mask=8), generator()) == 0
    time = mask(x, Augmentation(time_masks=2, time_mask=5), generator()) == 0
    rows, columns = mel.all(3), time.all(2)
    assert torch.equal(mel, rows.unsqueeze(3).expand_as(mel))
    assert torch.equal(time, columns.unsqueeze(2).expand_as(time))
    assert 0 < rows.sum(2).max() <= 8
    assert 5 < columns.sum(2).max() <= 10
    assert rows.sum(2).unique().numel() > 1
    for row in rows[:, 0]:
        masked = row.nonzero().flatten()
        assert not len(masked) or int(masked[-1] - masked[0]) + 1 == len(masked)


def test_mask_wider_than_the_crop() -> None:
    x = torch.ones(8, 1, 4, 3)
    masked = mask(x, Augmentation(time_masks=1, time_mask=24), generator())
    assert masked.shape == x.shape
    assert (masked == 0).any()


def test_same_generator_same_numbers() -> None:
    config = replace(SMALL.augmentation, roll=True)
    x = log_mel()
    first, again, other = (augment_audio(x, config, FLOOR, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(mask(x, config, generator(1)), mask(x, config, generator(1)))
    assert torch.isfinite(first).all()
