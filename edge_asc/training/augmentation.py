"""Augmentation of batches of log-mel."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from edge_asc.training.recipe import Augmentation

NEPERS_PER_DB = math.log(10.0) / 10.0


def uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    """Uniform random numbers in [low, high) of the given shape."""
    return torch.rand(*shape, generator=generator) * (high - low) + low


def draw_gain(config: Augmentation, batch: int, generator: torch.Generator) -> Tensor:
    """Input gain of each crop, dB, (batch,)."""
    gain = uniform(generator, *config.gain, batch)
    kept = torch.rand(batch, generator=generator) < config.gain_kept
    return torch.where(kept, uniform(generator, -3.0, 3.0, batch), gain)


def apply_gain(log_mel: Tensor, decibels: Tensor, floor: float) -> Tensor:
    """Log-mel as if the samples had been scaled; exact, floor included.

    `decibels` broadcasts against (..., mel, time).
    """
    power = (log_mel.exp() - floor).clamp_min(0.0)
    return torch.log(power * torch.exp(decibels * NEPERS_PER_DB) + floor)


def warp(log_mel: Tensor, config: Augmentation, generator: torch.Generator) -> Tensor:
    """Scale and shift the mel axis and stretch time, by one bilinear resampling of (B, 1, mel, time)."""
    batch = len(log_mel)
    theta = torch.zeros(batch, 2, 3)
    theta[:, 0, 0] = scale = uniform(generator, config.time_scale, 1.0, batch)
    theta[:, 0, 2] = scale - 1.0
    theta[:, 1, 1] = uniform(generator, 1.0 - config.mel_scale, 1.0 + config.mel_scale, batch)
    theta[:, 1, 2] = uniform(generator, -2.0 * config.mel_shift, 2.0 * config.mel_shift, batch)
    grid = F.affine_grid(theta, list(log_mel.shape), align_corners=True)
    return F.grid_sample(log_mel, grid, padding_mode="border", align_corners=True)


def augment_audio(log_mel: Tensor, config: Augmentation, floor: float, generator: torch.Generator) -> Tensor:
    """What changes the recording: warping, equaliser, gain and roll of raw log-mel, (B, 1, mel, time)."""
    batch, _, mels, time = log_mel.shape
    if config.time_scale < 1.0 or config.mel_scale or config.mel_shift:
        log_mel = warp(log_mel, config, generator)
    decibels = draw_gain(config, batch, generator).view(-1, 1, 1, 1)
    if config.equaliser:
        knots = uniform(generator, -config.equaliser, config.equaliser, batch, 1, 6)
        curve = F.interpolate(knots, size=mels, mode="linear", align_corners=True)
        decibels = decibels + curve.unsqueeze(3)
    if config.equaliser or config.gain != (0.0, 0.0):
        log_mel = apply_gain(log_mel, decibels, floor)
    if config.roll:
        shifts = torch.randint(time, (batch,), generator=generator).tolist()
        log_mel = torch.stack([x.roll(shift, dims=2) for x, shift in zip(log_mel, shifts, strict=True)])
    return log_mel


def mixup(features: Tensor, targets: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mix every crop with another one (Zhang et al., 2018); the larger share is its own."""
    concentration = torch.full((len(features),), alpha)
    draws = torch._standard_gamma(concentration.repeat(2), generator=generator).view(2, -1)
    share = draws[0] / draws.sum(0).clamp_min(1e-12)
    share = torch.maximum(share, 1.0 - share)
    other = torch.randperm(len(features), generator=generator)
    s = share.view(-1, 1, 1, 1)
    mixed = s * features + (1.0 - s) * features[other]
    return mixed, share[:, None] * targets + (1.0 - share[:, None]) * targets[other]


def mask(features: Tensor, config: Augmentation, generator: torch.Generator) -> Tensor:
    """SpecAugment's masks on normalised log-mel (B, 1, mel, time), filled with 0, the training mean."""
    batch, _, mels, time = features.shape
    keep = torch.ones(batch, 1, mels, time, dtype=torch.bool)
    for axis, size, count, widest in (
        (2, mels, config.mel_masks, config.mel_mask),
        (3, time, config.time_masks, config.time_mask),
    ):
        position = torch.arange(size).view(1, 1, -1, 1) if axis == 2 else torch.arange(size).view(1, 1, 1, -1)
        for _ in range(count):
            width = torch.rand(batch, 1, 1, 1, generator=generator) * min(widest, size)
            start = torch.rand(batch, 1, 1, 1, generator=generator) * (size - width)
            keep &= (position < start) | (position >= start + width)
    return features * keep
