"""The layer that is fitted on embeddings."""

from __future__ import annotations

import numpy as np
import pytest

from edge_asc.adaptation.fitting import NEVER, fit_layer
from edge_asc.errors import EdgeAscError
from edge_asc.frontend import Array

WIDTH = 12


def draw(count: int, seed: int = 0, noise: float = 0.5) -> tuple[list[Array], list[int]]:
    """Return embeddings of `count` clips of each of three classes, of several lengths, and their targets."""
    centres = np.random.default_rng(9).normal(0, 1, (3, WIDTH))
    generator = np.random.default_rng(seed)
    targets = [target for target in range(3) for _ in range(count)]
    clips = [
        np.maximum(0, centres[target] + generator.normal(0, noise, (steps, WIDTH))).astype(np.float32)
        for steps, target in zip(np.resize([1, 6, 9], len(targets)), targets, strict=True)
    ]
    return clips, targets


def count_right(clips: list[Array], targets: list[int], seed: int) -> int:
    layer = fit_layer(clips, targets, 3)
    others, expected = draw(20, seed)
    return sum(int(layer(clip).mean(axis=0).argmax()) == target for clip, target in zip(others, expected, strict=True))


def test_it_separates_what_can_be_separated() -> None:
    assert count_right(*draw(8), seed=1) >= 57


def test_it_is_deterministic_and_does_not_depend_on_the_order() -> None:
    clips, targets = draw(6)
    first, second = fit_layer(clips, targets, 3), fit_layer(clips, targets, 3)
    np.testing.assert_array_equal(first.weight, second.weight)
    backwards = fit_layer(clips[::-1], targets[::-1], 3)
    np.testing.assert_allclose(backwards.weight, first.weight, atol=1e-3)


def test_many_clips_of_one_class_do_not_draw_the_others_to_it() -> None:
    clips, targets = draw(5, noise=2.0)
    kept = [*range(0, 15, 5)][1:]
    many, many_targets = draw(60, seed=3, noise=2.0)
    clips = [clips[index] for index in (*kept, *(index + 1 for index in kept))] + many[:60]
    targets = [targets[index] for index in (*kept, *(index + 1 for index in kept))] + many_targets[:60]
    layer = fit_layer(clips, targets, 3)
    decided = [int(layer(clip).mean(axis=0).argmax()) for clip, target in zip(clips, targets, strict=True) if target]
    assert decided == [target for target in targets if target]


def test_clips_without_a_decision_count_for_nothing() -> None:
    clips, targets = draw(4)
    empty = np.empty((0, WIDTH), np.float32)
    with_empty = fit_layer([*clips, empty], [*targets, 0], 3)
    np.testing.assert_allclose(with_empty.weight, fit_layer(clips, targets, 3).weight, atol=1e-6)


def test_a_class_without_a_clip_is_never_decided() -> None:
    clips, targets = draw(4)
    layer = fit_layer(clips, targets, 5)
    assert layer.weight.shape == (5, WIDTH)
    assert (layer.bias[3:] == NEVER).all()
    assert layer(np.concatenate(clips)).argmax(axis=1).max() < 3


def test_one_class_is_refused() -> None:
    clips, _ = draw(4)
    with pytest.raises(EdgeAscError, match="expected two or more"):
        fit_layer(clips, [1] * len(clips), 3)
    with pytest.raises(EdgeAscError, match="clips of 0 classes"):
        fit_layer([np.empty((0, WIDTH), np.float32)], [0], 2)
