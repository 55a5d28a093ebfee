from __future__ import annotations

import csv
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from edge_asc.errors import EdgeAscError
from edge_asc.frontend import FrontEnd
from edge_asc.models import CNN, CRNN, ModelConfig
from edge_asc.training import batches as batches_module
from edge_asc.training.augmentation import apply_gain
from edge_asc.training.batches import Batches
from edge_asc.training.compute import Compute
from edge_asc.training.loop import LOG, STATE, Trainer, normalisation
from edge_asc.training.recipe import SMALL, Augmentation, Recipe

torch.set_num_threads(1)  # the models are too small to share, and the machine may be busy

Features = list[npt.NDArray[np.float32]]

TARGETS = [0, 1, 0, 1, 0, 1]
FAST = SMALL.override({"epochs": 3, "warmup_epochs": 1.0, "batch": 4, "frames": (16, 24)})


def clips(seed: int = 0) -> Features:
    """Six clips of noise, of two classes that differ in where on the mel axis they are loud; one is short."""
    rng = np.random.default_rng(seed)
    features = [rng.normal(-9.0, 1.0, (frames, 256)).astype(np.float32) for frames in (40, 24, 32, 40, 11, 28)]
    for clip, target in zip(features, TARGETS, strict=True):
        clip[:, 128 * target : 128 * (target + 1)] += 4.0
    return features


def trainer(folder: Path, recipe: Recipe = FAST, features: Features | None = None, **options: Any) -> Trainer:
    features = clips() if features is None else features
    teaching = {
        name: options.pop(name) for name in ("teachers", "initial", "same_labels", "compute") if name in options
    }
    front_end = normalisation(features, recipe, FrontEnd())
    config = ModelConfig(classes=2, **options)
    return Trainer(config, recipe, features, TARGETS, front_end, folder, **teaching)


def weights(model: CRNN | CNN) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_resumed_training_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole", dropout=0.3)
    losses = [epoch.loss for epoch in whole.epochs()]

    first = trainer(tmp_path / "parts", dropout=0.3)
    begun = [epoch.loss for epoch in islice(first.epochs(), 1)]
    torch.manual_seed(99)  # what happens in between does not matter
    second = trainer(tmp_path / "parts", dropout=0.3)
    steps: list[int] = []
    rest = list(second.epochs(lambda step, _: steps.append(step)))
    assert [epoch.number for epoch in rest] == [2, 3]
    assert steps == [0, 1, 0, 1]
    assert begun + [epoch.loss for epoch in rest] == losses
    assert same(weights(second.result), weights(whole.result))
    assert same(weights(second.model), weights(whole.model))
    with (tmp_path / "parts" / LOG).open() as file:
        assert [row["number"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    assert list(second.epochs()) == []


def test_seed_decides(tmp_path: Path) -> None:
    recipe = FAST.override({"epochs": 1})
    results = []
    for i, seed in enumerate((0, 0, 1)):
        run = trainer(tmp_path / str(i), recipe.override({"seed": seed}))
        list(run.epochs())
        results.append(weights(run.result))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


@pytest.mark.parametrize(
    ("change", "named"),
    [({"recipe": FAST.override({"learning_rate": 1e-2})}, "recipe"), ({"backbone": "resnet"}, "model")],
)
def test_resume_with_other_settings_is_refused(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    next(trainer(tmp_path).epochs())
    assert (tmp_path / STATE).exists()
    with pytest.raises(EdgeAscError, match=f"another {named}; start it with the same settings"):
        next(trainer(tmp_path, **change).epochs())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"output": "single", "auxiliary": False},
        {"head": "gap", "form": "windowed"},
        {"backbone": "bcresnet", "form": "windowed", "res_norm": True},
    ],
    ids=lambda options: "-".join(map(str, options.values())) or "default",
)
def test_easy_classes_are_learned(tmp_path: Path, options: dict[str, Any]) -> None:
    recipe = Recipe(
        optimizer="adamw", learning_rate=3e-3, epochs=6, warmup_epochs=0.0, batch=6, crops=2, frames=(16, 24)
    )
    run = trainer(tmp_path, recipe, **options)
    epochs = list(run.epochs())
    assert epochs[-1].loss < 0.8 * epochs[0].loss
    assert epochs[-1].accuracy > 0.9
    assert not run.result.training
    assert all(torch.isfinite(value).all() for value in weights(run.result).values())


def test_sgd_of_the_paper(tmp_path: Path) -> None:
    recipe = Recipe(epochs=1, warmup_epochs=0.5, batch=3, frames=(16, 16))
    run = trainer(tmp_path, recipe)
    before = weights(run.model)
    (epoch,) = run.epochs()
    assert np.isfinite(epoch.loss)
    assert same(weights(run.result), weights(run.model))  # no moving average
    assert not torch.equal(before["output.weight"], run.model.state_dict()["output.weight"])


def test_moving_average_of_weights(tmp_path: Path) -> None:
    run = trainer(tmp_path, FAST.override({"batch": 6, "epochs": 2, "ema": 0.06}))
    average = weights(run.average)
    for decay in (1 / 21, 0.06):  # the average warms up: 2 / 22 would be more than the recipe's
        next(run.epochs())
        for name, value in run.model.state_dict().items():
            if value.is_floating_point():
                average[name] = decay * average[name] + (1 - decay) * value
                torch.testing.assert_close(run.average.state_dict()[name], average[name])
            else:
                assert torch.equal(run.average.state_dict()[name], value)
    assert same(weights(run.result), weights(run.average))


def test_learning_rate_warms_up_and_anneals(tmp_path: Path) -> None:
    run = trainer(tmp_path, Recipe(epochs=10, warmup_epochs=2.0, batch=2, frames=(16, 16), final_learning_rate=0.1))
    assert run.steps_per_epoch == 3
    rates = [run.learning_rate(step) for step in range(31)]
    assert rates[0] == pytest.approx(0.05 / 6)
    assert [max(rates), rates[5], rates[6]] == pytest.approx([0.05] * 3)
    assert rates[6:] == sorted(rates[6:], reverse=True)
    assert rates[18] == pytest.approx(0.05 * (0.1 + 0.9 * 0.5))
    assert rates[30] == pytest.approx(0.005)


def test_damaged_features_stop_the_training(tmp_path: Path) -> None:
    front_end = normalisation(clips(), FAST, FrontEnd())
    features = clips()
    features[3][:] = np.nan
    run = Trainer(ModelConfig(classes=2), FAST, features, TARGETS, front_end, tmp_path)
    with pytest.raises(EdgeAscError, match="the loss became nan in epoch 1; start again with a lower"):
        next(run.epochs())
    assert not (tmp_path / STATE).exists()


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(EdgeAscError, match="0 training clips"):
        Trainer(ModelConfig(), FAST, [], [], FrontEnd(), tmp_path)


def test_teachers_change_what_is_learned(tmp_path: Path) -> None:
    recipe = FAST.override({"epochs": 1})
    teacher = CRNN(ModelConfig(classes=2, backbone="bcresnet"))
    before = weights(teacher)
    runs = [trainer(tmp_path / str(n), recipe, teachers=[teacher] * n) for n in (0, 1, 2)]
    losses = [next(run.epochs()).loss for run in runs]
    assert losses[1] != losses[0]
    assert losses[2] == pytest.approx(losses[1])  # the same teacher twice teaches the same
    assert same(weights(teacher), before)
    with pytest.raises(EdgeAscError, match="another teachers"):
        next(trainer(tmp_path / "1", recipe).epochs())


def test_initial_weights_are_where_training_starts(tmp_path: Path) -> None:
    torch.manual_seed(5)
    initial = CRNN(ModelConfig(classes=2))
    run = trainer(tmp_path, initial=initial)
    assert same(weights(run.model), weights(initial))
    assert same(weights(run.average), weights(initial))


def test_other_labels_leave_the_last_layers_out(tmp_path: Path) -> None:
    torch.manual_seed(5)
    initial = CRNN(ModelConfig(classes=7))
    run = trainer(tmp_path, initial=initial, same_labels=False)
    fresh = {name for name, value in weights(run.model).items() if not torch.equal(value, weights(initial)[name])}
    assert fresh == {"output.weight", "output.bias", "auxiliary.weight", "auxiliary.bias"}
    with pytest.raises(EdgeAscError, match="expected the same model"):
        trainer(tmp_path, initial=initial)


def test_normalisation_is_that_of_all_frames() -> None:
    features = clips()
    front_end = normalisation(features, Recipe(), FrontEnd())
    frames = np.concatenate(features).astype(np.float64)
    np.testing.assert_allclose(front_end.mean, frames.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(front_end.scale, 1 / frames.std(axis=0), rtol=1e-4)


def test_normalisation_hears_the_levels_of_the_recipe() -> None:
    recipe = Recipe(augmentation=Augmentation(gain=(-20.0, -20.0)))
    features = clips()
    front_end = normalisation(features, recipe, FrontEnd())
    quiet = apply_gain(torch.from_numpy(np.concatenate(features)), torch.tensor(-20.0), 1e-8).double().mean(0)
    np.testing.assert_allclose(front_end.mean, quiet.numpy(), rtol=1e-4)


def batches(recipe: Recipe, epoch: int = 0, **share: int) -> Batches:
    features = clips()
    return Batches(
        features, torch.tensor(TARGETS), 2, normalisation(features, recipe, FrontEnd()), recipe, epoch, **share
    )


def test_batches_are_normalised_and_clipped() -> None:
    lengths = set()
    for epoch in range(12):
        ((x, y),) = batches(Recipe(batch=6, frames=(16, 40)), epoch).loader(Compute())
        lengths.add(x.shape[3])
        assert x.shape[:3] == (6, 1, 256)
        assert x.abs().max() <= 4.0
        assert y.sum(0).tolist() == [3, 3]
    assert lengths == {16, 24, 32, 40}


def test_loader_processes_prepare_the_same_batches_in_the_same_order() -> None:
    chosen = batches(SMALL.override({"batch": 2, "crops": 2, "frames": (16, 24)}), 1)
    here = list(chosen.loader(Compute()))
    there = list(chosen.loader(Compute(loaders=2)))
    assert len(here) == len(there) == 6
    for mine, theirs in zip(here, there, strict=True):
        assert torch.equal(mine[0], theirs[0])
        assert torch.equal(mine[1], theirs[1])
    other = next(iter(batches(chosen.recipe, 2).loader(Compute())))
    assert not torch.equal(here[0][0], other[0])


def test_processes_share_the_clips_of_a_batch() -> None:
    recipe = Recipe(batch=6, frames=(16, 40), crops=2)
    whole = batches(recipe)
    shares = [batches(recipe, rank=rank, ranks=2) for rank in range(2)]
    for i in range(2):
        assert sorted(torch.cat([part.parts[i][part.rank :: 2] for part in shares]).tolist()) == [0, 1, 2, 3, 4, 5]
        (x0, y0), (x1, y1) = (part[i] for part in shares)
        assert x0.shape == x1.shape == (3, *whole[i][0].shape[1:])
        assert torch.equal(y0.sum(0) + y1.sum(0), whole[i][1].sum(0))
    assert [len(part) for part in batches(recipe.override({"batch": 5, "crops": 1}), ranks=2).parts] == [5]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_learns_and_resumes(tmp_path: Path, precision: Any) -> None:
    recipe = Recipe(optimizer="adamw", learning_rate=3e-3, epochs=4, warmup_epochs=0.0, batch=6, frames=(16, 24))
    compute = Compute(precision=precision)
    whole = trainer(tmp_path / "whole", recipe, compute=compute)
    losses = [epoch.loss for epoch in whole.epochs()]
    assert losses[-1] < losses[0]
    assert losses != [epoch.loss for epoch in trainer(tmp_path / "single", recipe).epochs()]
    assert {value.dtype for value in weights(whole.model).values()} == {torch.float32, torch.int64}
    next(trainer(tmp_path / "parts", recipe, compute=compute).epochs())
    resumed = trainer(tmp_path / "parts", recipe, compute=compute)
    list(resumed.epochs())
    assert same(weights(resumed.model), weights(whole.model))


def test_a_batch_that_is_too_small_to_share(tmp_path: Path) -> None:
    with pytest.raises(EdgeAscError, match="a batch has 4 crops for 3 processes; expected at least 2 for each"):
        trainer(tmp_path, compute=Compute(ranks=3))


def test_no_two_draws_share_their_numbers() -> None:
    numbers = [(0, 1), (0, 1, 0), (0, 1, 0, 0), (0, 1, 1), (0, 1, 1, 0)]
    assert len({batches_module._generator(*each).initial_seed() for each in numbers}) == len(numbers)
