"""Normalisation of log-mel: mean and standard deviation of every mel bin over the training clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_asc.frontend import Array, FrontEnd
from edge_asc.training.augmentation import draw_gain, to_log_mel, to_power
from edge_asc.training.recipe import Recipe

GAIN_DRAWS = 8


def measure_normalisation(features: Sequence[Array], recipe: Recipe, front_end: FrontEnd) -> FrontEnd:
    """Return `front_end` with the mean and 1 / deviation per bin of raw log-mel at the first stage's levels."""
    augmentation = recipe.stages[0].augmentation
    generator = np.random.default_rng(recipe.seed)
    count = 0
    total, squares = np.zeros((2, front_end.mels))
    for clip in features:
        x = np.array(clip)
        levels = [x]
        if augmentation.changes_level:
            power = to_power(x, front_end.floor)
            gains = 10.0 ** (draw_gain(augmentation, GAIN_DRAWS, generator) / 10.0)
            levels = [to_log_mel(power * np.float32(gain), front_end.floor) for gain in gains]
        for level in levels:
            y = level.astype(np.float64)
            count, total, squares = count + len(y), total + y.sum(0), squares + (y * y).sum(0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean * mean, 1e-6))
    return front_end.with_normalisation(mean, 1.0 / deviation)
