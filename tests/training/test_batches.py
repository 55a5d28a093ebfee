from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from msgspec import structs

from edge_asc.frontend import FrontEnd
from edge_asc.training.batches import Batches, Examples, count_batches, torch_generator
from edge_asc.training.compute import Compute
from edge_asc.training.normalisation import measure_normalisation
from edge_asc.training.recipe import PAPER, STAGED, Augmentation, Recipe, Stage

LENGTHS = (40, 24, 32, 40, 11, 28)
TARGETS = [0, 1, 0, 1, 0, 1]
PLAIN = structs.replace(PAPER.stages[0], batch=6, frames=(16, 40))


def clips() -> list[Any]:
    """Six clips of noise, of two classes that differ in where on the mel axis they are loud; one is short."""
    rng = np.random.default_rng(0)
    features = [rng.normal(-9.0, 1.0, (frames, 256)).astype(np.float32) for frames in LENGTHS]
    for clip, target in zip(features, TARGETS, strict=True):
        clip[:, 128 * target : 128 * (target + 1)] += 4.0
    return features


def examples(recipe: Recipe = PAPER, **options: Any) -> Examples:
    return Examples(clips(), TARGETS, 2, measure_normalisation(clips(), recipe, FrontEnd()), **options)


def batches(stage: Stage = PLAIN, epoch: int = 0, **options: Any) -> Batches:
    return Batches(examples(), stage, 0, epoch, **options)


def test_batches_are_normalised_and_clipped() -> None:
    lengths = set()
    for epoch in range(12):
        ((x, y),) = batches(epoch=epoch).loader(Compute())
        lengths.add(x.shape[3])
        assert x.shape[:3] == (6, 1, 256)
        assert x.abs().max() <= 4.0
        assert y.sum(0).tolist() == [3, 3]
    assert lengths == {16, 24, 32, 40}


def test_the_papers_crops_start_with_the_clip_and_repeat_a_short_one() -> None:
    stage = structs.replace(PAPER.stages[0], batch=6, frames=(16, 16))
    chosen = batches(stage)
    ((x, _),) = iter(chosen)
    front_end = chosen.examples.front_end
    mean, scale = np.array(front_end.mean, np.float32), np.array(front_end.scale, np.float32)
    for row, clip in enumerate(chosen.parts[0].tolist()):
        crop = clips()[clip][np.arange(16) % LENGTHS[clip]]
        expected = np.clip((crop - mean) * scale, -4.0, 4.0)
        np.testing.assert_array_equal(x[row, 0].T, expected)


def test_loader_processes_prepare_the_same_batches_in_the_same_order() -> None:
    stage = structs.replace(STAGED.stages[0], batch=2, crops=2, frames=(16, 24))
    here = list(batches(stage, 1).loader(Compute()))
    there = list(batches(stage, 1).loader(Compute(num_workers=2)))
    assert len(here) == len(there) == 6
    for mine, theirs in zip(here, there, strict=True):
        assert torch.equal(mine[0], theirs[0])
        assert torch.equal(mine[1], theirs[1])
    other = next(iter(batches(stage, 2).loader(Compute())))
    assert not torch.equal(here[0][0], other[0])


def test_processes_share_the_clips_of_a_batch() -> None:
    stage = structs.replace(PLAIN, crops=2)
    whole = batches(stage)
    shares = [batches(stage, compute=Compute(rank=rank, ranks=2)) for rank in range(2)]
    for i in range(2):
        assert sorted(torch.cat([part.parts[i][part.rank :: 2] for part in shares]).tolist()) == [0, 1, 2, 3, 4, 5]
        (x0, y0), (x1, y1) = (part[i] for part in shares)
        assert x0.shape == x1.shape == (3, *whole[i][0].shape[1:])
        assert torch.equal(y0.sum(0) + y1.sum(0), whole[i][1].sum(0))
    assert [len(part) for part in batches(structs.replace(PLAIN, batch=5), compute=Compute(ranks=2)).parts] == [5]


def test_long_crops() -> None:
    stage = structs.replace(PLAIN, long_frames=80, long_batch=3)
    assert [x.shape for x, _ in iter(batches(stage, long=True))] == [(3, 1, 256, 80)] * 2
    assert (count_batches(6, stage), count_batches(6, stage, long=True)) == (1, 2)


def test_mixed_targets_are_those_of_two_clips() -> None:
    stage = structs.replace(PLAIN, augmentation=Augmentation(mixing=1.0))
    ((x, y),) = iter(batches(stage))
    torch.testing.assert_close(y.sum(1), torch.ones(6))
    assert ((y > 0.0) & (y < 1.0)).any()
    ((plain, _),) = iter(batches(PLAIN))
    assert not torch.equal(x, plain)
    half = structs.replace(PLAIN, augmentation=Augmentation(mixing=0.5))
    shares = torch.cat([y for epoch in range(30) for _, y in iter(batches(half, epoch))])
    pure = ((shares == 0.0) | (shares == 1.0)).all(1).float().mean()
    assert 0.6 < pure < 0.85  # half of them, and those whose partner has the same label


def test_silence_is_not_mixed() -> None:
    floor = FrontEnd().floor
    features = [np.full((32, 256), math.log(floor), np.float32), *clips()[1:]]
    chosen = Examples(features, TARGETS, 2, measure_normalisation(features, PAPER, FrontEnd()))
    stage = structs.replace(PLAIN, augmentation=Augmentation(mixing=1.0))
    (part,) = Batches(chosen, stage, 0, 0).parts
    ((_, y),) = iter(Batches(chosen, stage, 0, 0))
    assert y[part.tolist().index(0)].tolist() == [1.0, 0.0]


def test_crops_hold_an_active_frame() -> None:
    floor = FrontEnd().floor
    clip = np.full((400, 256), math.log(floor), np.float32)
    clip[300] = 0.0
    front_end = FrontEnd().with_normalisation(np.zeros(256), np.ones(256))
    stage = structs.replace(PLAIN, frames=(16, 16), start=0.0, active=True, batch=2)
    chosen = Examples([clip, clip], [0, 1], 2, front_end)
    positions = set()
    for epoch in range(40):
        ((x, _),) = iter(Batches(chosen, stage, 0, epoch))
        loud = (x[:, 0, 0] == 0.0).nonzero()
        assert loud[:, 0].tolist() == [0, 1]  # one frame in each crop
        positions |= set(loud[:, 1].tolist())
    assert len(positions) > 10
    somewhere = structs.replace(stage, active=False)
    found = [(x[:, 0, 0] == 0.0).any() for epoch in range(40) for x, _ in iter(Batches(chosen, somewhere, 0, epoch))]
    assert not all(found)


def test_examples_stay_where_they_are_if_they_are_large() -> None:
    features = clips()
    front_end = FrontEnd().with_normalisation(np.zeros(256), np.ones(256))
    assert Examples(features, TARGETS, 2, front_end, in_memory=10).features is features
    assert Examples(features, TARGETS, 2, front_end).features is not features


def test_class_weights() -> None:
    unequal = Examples(clips(), [0, 1, 1, 1, 1, 1], 2, FrontEnd().with_normalisation(np.zeros(256), np.ones(256)))
    assert unequal.weights(0.0).tolist() == [1.0, 1.0]
    full = unequal.weights(1.0)
    assert full[0] / full[1] == pytest.approx(5.0)
    assert (full[0] + 5 * full[1]) / 6 == pytest.approx(1.0)
    limited = unequal.weights(1.0, class_limit=2.0)  # an epoch draws one clip of the first class and two of the other
    assert limited[0] / limited[1] == pytest.approx(2.0)
    assert (limited[0] + 2 * limited[1]) / 3 == pytest.approx(1.0)
    assert unequal.weights(1.0, other_weight=0.1).tolist() == full.tolist()  # there is no such label
    unequal.other = 1
    unlikely = unequal.weights(1.0, other_weight=0.1)
    assert unlikely[0] / unlikely[1] == pytest.approx(50.0)
    assert (unlikely[0] + 5 * unlikely[1]) / 6 == pytest.approx(1.0)


def test_class_limit() -> None:
    front_end = FrontEnd().with_normalisation(np.zeros(256), np.ones(256))
    chosen = Examples(clips() * 2, [0, 1, *[2] * 10], 3, front_end)
    assert chosen.count(0.0) == 12
    assert chosen.count(4.0) == 6  # four times the mean of the other classes, one clip each
    seen = set()
    for epoch in range(20):
        order = chosen.draw(4.0, torch_generator(epoch))
        assert len(order) == 6
        assert {0, 1} <= set(order.tolist())
        seen |= set(order.tolist())
    assert seen == set(range(12))


def test_no_two_draws_share_their_numbers() -> None:
    numbers = [(0, 1), (0, 1, 0), (0, 1, 0, 0), (0, 1, 1), (0, 1, 1, 0)]
    assert len({torch_generator(*each).initial_seed() for each in numbers}) == len(numbers)


def test_the_order_of_the_clips_stays_what_it_was() -> None:
    """Published results of the paper's recipe depend on it."""
    assert torch.randperm(6, generator=torch_generator(0, 0)).tolist() == [3, 0, 5, 1, 2, 4]
    assert torch.randperm(6, generator=torch_generator(3, 7)).tolist() == [4, 1, 2, 0, 5, 3]
    assert torch.cat(batches(structs.replace(PLAIN, batch=2)).parts).tolist() == [3, 0, 5, 1, 2, 4]
