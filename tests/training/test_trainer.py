from __future__ import annotations

import csv
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from msgspec import structs

from edge_asc.errors import EdgeAscError
from edge_asc.frontend import FrontEnd
from edge_asc.models import CNN, CRNN, ModelConfig
from edge_asc.training.augmentation import to_log_mel, to_power
from edge_asc.training.batches import Examples
from edge_asc.training.compute import Compute
from edge_asc.training.listener import Listener
from edge_asc.training.log import LOG
from edge_asc.training.normalisation import measure_normalisation
from edge_asc.training.recipe import STAGED, Augmentation, Recipe, Stage
from edge_asc.training.start import Start
from edge_asc.training.state import STATE
from edge_asc.training.trainer import Aids, Trainer
from edge_asc.training.validation import Validation

torch.set_num_threads(1)  # the models are too small to share, and the machine may be busy

Features = list[npt.NDArray[np.float32]]

TARGETS = [0, 1, 0, 1, 0, 1]
FAST = STAGED.override(
    {
        "trunk.epochs": 3,
        "trunk.batch": 4,
        "trunk.frames": (16, 24),
        "trunk.long_share": 0.3,
        "trunk.long_frames": 32,
        "trunk.long_batch": 3,
        "head.epochs": 2,
        "head.batch": 8,
        "head.frames": (32, 32),
        "head.views": 3,
    }
)
EVERYTHING = Stage(
    optimizer="adamw",
    learning_rate=3e-3,
    epochs=6,
    warmup=0.0,
    batch=6,
    crops=2,
    frames=(16, 24),
    final_learning_rate=0.1,
)


def clips(seed: int = 0) -> Features:
    """Six clips of noise, of two classes that differ in where on the mel axis they are loud; one is short."""
    rng = np.random.default_rng(seed)
    features = [rng.normal(-9.0, 1.0, (frames, 256)).astype(np.float32) for frames in (40, 24, 32, 40, 11, 28)]
    for clip, target in zip(features, TARGETS, strict=True):
        clip[:, 128 * target : 128 * (target + 1)] += 4.0
    return features


def trainer(folder: Path, recipe: Recipe = FAST, features: Features | None = None, **options: Any) -> Trainer:
    features = clips() if features is None else features
    given = {name: options.pop(name) for name in ("teachers", "start", "validation", "compute") if name in options}
    front_end = measure_normalisation(features, recipe, FrontEnd())
    config = ModelConfig(classes=2, **options)
    compute = given.pop("compute", None)
    examples = Examples(features, TARGETS, 2, front_end)
    return Trainer(config, recipe, examples, folder, Aids(**given), compute)


def validation(selects: bool = True, seed: int = 1) -> Validation:
    features = clips(seed)
    return Validation(features, TARGETS, measure_normalisation(features, FAST, FrontEnd()), selects=selects)


def weights(model: CRNN | CNN) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("stopped_after", [1, 2, 3, 4])
def test_resumed_training_ends_with_the_same_bits(tmp_path: Path, stopped_after: int) -> None:
    """Wherever it stops: within the trunk's stage, between the stages, within the head's."""
    whole = trainer(tmp_path / "whole", dropout=0.3, validation=validation())
    results = list(whole.epochs())

    first = trainer(tmp_path / "parts", dropout=0.3, validation=validation())
    begun = list(islice(first.epochs(), stopped_after))
    torch.manual_seed(99)  # what happens in between does not matter
    second = trainer(tmp_path / "parts", dropout=0.3, validation=validation())
    rest = list(second.epochs())
    assert [epoch.number for epoch in rest] == list(range(stopped_after + 1, 6))
    assert [(e.loss, e.validation) for e in begun + rest] == [(e.loss, e.validation) for e in results]
    assert same(weights(second.result), weights(whole.result))
    with (tmp_path / "parts" / LOG).open() as file:
        rows = list(csv.DictReader(file))
    assert [row["number"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [row["stage"] for row in rows] == ["trunk"] * 3 + ["head"] * 2
    assert list(second.epochs()) == []


def test_a_training_of_the_paper_resumes_with_the_same_bits(tmp_path: Path) -> None:
    recipe = Recipe(stages=(Stage(epochs=3, batch=4, frames=(16, 24)),))
    whole, first = (trainer(tmp_path / name, recipe, dropout=0.3) for name in ("whole", "parts"))
    list(whole.epochs())
    list(islice(first.epochs(), 2))
    second = trainer(tmp_path / "parts", recipe, dropout=0.3)
    assert len(list(second.epochs())) == 1
    assert same(weights(second.result), weights(whole.result))


def test_each_stage_trains_its_part(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    begun = weights(run.model)
    list(islice(run.epochs(), 3))
    after_trunk = weights(run.model)
    changed = {name for name, value in after_trunk.items() if not torch.equal(value, begun[name])}
    assert not any(name.startswith(("gru", "output")) for name in changed)
    assert {"auxiliary.weight", "embedding.project.weight", "backbone.stem.0.conv.weight"} <= changed
    list(run.epochs())
    changed = {name for name, value in run.result.state_dict().items() if not torch.equal(value, after_trunk[name])}
    assert changed == {name for name in begun if name.startswith(("gru", "output"))}


def test_a_stage_ends_with_its_moving_average(tmp_path: Path) -> None:
    run = trainer(tmp_path, FAST.only(("trunk",)).override({"ema": 0.5}))
    averages = [weights(run.average) for _ in run.epochs()]
    assert same(weights(run.result), averages[-1])
    assert not same(averages[-1], averages[-2])


def test_moving_average_warms_up(tmp_path: Path) -> None:
    run = trainer(tmp_path, Recipe(stages=(structs.replace(EVERYTHING, crops=1, ema=0.06),)))
    average = weights(run.average)
    for decay in (1 / 21, 0.06):  # 2 / 22 would be more than the recipe's
        next(run.epochs())
        for name, value in run.model.state_dict().items():
            if value.is_floating_point():
                average[name] = decay * average[name] + (1 - decay) * value
                torch.testing.assert_close(run.average.state_dict()[name], average[name])
            else:
                assert torch.equal(run.average.state_dict()[name], value)


def test_seed_decides(tmp_path: Path) -> None:
    recipe = FAST.with_epochs(1)
    results = []
    for i, seed in enumerate((0, 0, 1)):
        run = trainer(tmp_path / str(i), recipe.override({"seed": seed}))
        list(run.epochs())
        results.append(weights(run.result))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


@pytest.mark.parametrize(
    ("change", "named"),
    [({"recipe": FAST.override({"trunk.learning_rate": 1e-2})}, "recipe"), ({"backbone": "resnet"}, "model")],
)
def test_resume_with_other_settings_is_refused(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    next(trainer(tmp_path).epochs())
    assert (tmp_path / STATE).exists()
    with pytest.raises(EdgeAscError, match=f"another {named}; start it with the same settings"):
        next(trainer(tmp_path, **change).epochs())


def test_resume_with_other_validation_clips_is_refused(tmp_path: Path) -> None:
    next(trainer(tmp_path, validation=validation()).epochs())
    with pytest.raises(EdgeAscError, match="another validation clips"):
        next(trainer(tmp_path, validation=validation(seed=2)).epochs())


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
    run = trainer(tmp_path, Recipe(stages=(EVERYTHING,)), **options)
    epochs = list(run.epochs())
    assert epochs[-1].loss < 0.8 * epochs[0].loss
    assert epochs[-1].accuracy > 0.9
    assert not run.result.training
    assert all(torch.isfinite(value).all() for value in weights(run.result).values())


@pytest.mark.parametrize("options", [{}, {"output": "single", "form": "windowed"}], ids=str)
def test_easy_classes_are_learned_in_stages(tmp_path: Path, options: dict[str, Any]) -> None:
    recipe = FAST.override(
        {
            "trunk.epochs": 12,
            "trunk.crops": 4,
            "trunk.ema": 0,
            "trunk.batch": 6,
            "head.epochs": 60,
            "head.views": 8,
            "augmentation.gain": (0, 0),
            "augmentation.gain_kept": 0,
            "augmentation.mixing": 0,
            "learning_rate": 1e-2,
        }
    )
    run = trainer(tmp_path, recipe, **options)
    list(run.epochs())
    checks = Validation(clips(1), TARGETS, run.examples.front_end, selects=False)
    assert checks.evaluate(run.result, recipe.stages[0], Compute()) == 1.0  # auxiliary layer
    assert checks.evaluate(run.result, recipe.stages[1], Compute()) == 1.0  # output


@pytest.mark.parametrize("options", [{"head": "gap"}, {"auxiliary": False}], ids=str)
def test_stages_need_the_auxiliary_layer(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(EdgeAscError, match="stage trunk needs a linear head, or a GRU head with the auxiliary layer"):
        next(trainer(tmp_path, **options).epochs())


def test_sgd_of_the_paper(tmp_path: Path) -> None:
    recipe = Recipe(stages=(Stage(epochs=1, warmup=0.5, batch=3, frames=(16, 16)),))
    run = trainer(tmp_path, recipe)
    before = weights(run.model)
    (epoch,) = run.epochs()
    assert np.isfinite(epoch.loss)
    assert epoch.crops == len(TARGETS)
    assert same(weights(run.result), weights(run.model))  # no moving average
    assert not torch.equal(before["output.weight"], run.model.state_dict()["output.weight"])


def test_learning_rate_warms_up_and_anneals(tmp_path: Path) -> None:
    stage = Stage(epochs=10, warmup=0.2, batch=2, frames=(16, 16), final_learning_rate=0.1)
    run = trainer(tmp_path, Recipe(stages=(stage,)))
    next(run.epochs())
    assert run.count_steps() == 30
    rates = [run.learning_rate(step, 0.05) for step in range(31)]
    assert rates[0] == pytest.approx(0.05 / 6)
    assert [max(rates), rates[5], rates[6]] == pytest.approx([0.05] * 3)
    assert rates[6:] == sorted(rates[6:], reverse=True)
    assert rates[18] == pytest.approx(0.05 * (0.1 + 0.9 * 0.5))
    assert rates[30] == pytest.approx(0.005)


def test_a_warm_up_of_less_than_a_batch_does_not_exceed_the_peak(tmp_path: Path) -> None:
    run = trainer(tmp_path, Recipe(stages=(Stage(epochs=1, warmup=0.05, batch=6, frames=(16, 16)),)))
    next(run.epochs())
    assert run.learning_rate(0, 0.05) == 0.05


def test_steps_are_counted_with_long_crops_and_views(tmp_path: Path) -> None:
    class Counter(Listener):
        steps = 0

        def stepped(self, loss: float) -> None:
            self.steps += 1

    run, counter = trainer(tmp_path), Counter()
    list(run.epochs(counter))
    # Two epochs of two batches, one of two long ones, and two of 18 views in three batches.
    assert run.count_steps() == counter.steps == 2 * 2 + 2 + 2 * 3


def test_the_best_evaluation_is_kept(tmp_path: Path) -> None:
    class Scripted(Validation):
        accuracies = iter((0.5, 0.9, 0.7, 0.2, 0.1))

        def evaluate(self, *_: Any) -> float:
            return next(self.accuracies)

    checks = validation()
    checks.__class__ = Scripted
    run = trainer(tmp_path, validation=checks)
    kept = []
    for _ in range(2):
        next(run.epochs())
        kept.append(weights(run.average))
    next(run.epochs())
    assert same(weights(run.model), kept[1])
    list(run.epochs())
    assert [epoch.validation for epoch in run.history] == [0.5, 0.9, 0.7, 0.2, 0.1]


def test_a_stage_stops_early(tmp_path: Path) -> None:
    class Constant(Validation):
        def evaluate(self, *_: Any) -> float:
            return 0.5

    checks = validation()
    checks.__class__ = Constant
    recipe = FAST.override({"validation": 0.1, "trunk.epochs": 9, "trunk.patience": 2})
    run = trainer(tmp_path, recipe, validation=checks)
    epochs = list(run.epochs())
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 10, 11]
    assert [epoch.stage for epoch in epochs] == ["trunk"] * 3 + ["head"] * 2


def test_reported_clips_do_not_select(tmp_path: Path) -> None:
    plain, watched = trainer(tmp_path / "plain"), trainer(tmp_path / "watched", validation=validation(selects=False))
    losses = [epoch.loss for epoch in plain.epochs()]
    epochs = list(watched.epochs())
    assert [epoch.loss for epoch in epochs] == losses
    assert all(epoch.validation is not None for epoch in epochs)
    assert same(weights(plain.result), weights(watched.result))


def test_damaged_features_stop_the_training(tmp_path: Path) -> None:
    front_end = measure_normalisation(clips(), FAST, FrontEnd())
    features = clips()
    features[3][:] = np.nan
    recipe = Recipe(stages=(EVERYTHING,))
    run = Trainer(ModelConfig(classes=2), recipe, Examples(features, TARGETS, 2, front_end), tmp_path)
    with pytest.raises(EdgeAscError, match="the loss became nan in epoch 1; start again with a lower"):
        next(run.epochs())
    assert not (tmp_path / STATE).exists()


def test_nothing_to_train_on() -> None:
    with pytest.raises(EdgeAscError, match="0 training clips"):
        Examples([], [], 10, FrontEnd())


@pytest.mark.parametrize("recipe", [FAST.with_epochs(1), Recipe(stages=(EVERYTHING,)).with_epochs(1)])
def test_teachers_change_what_is_learned(tmp_path: Path, recipe: Recipe) -> None:
    teacher = CRNN(ModelConfig(classes=2, backbone="bcresnet"))
    before = weights(teacher)
    runs = [trainer(tmp_path / str(n), recipe, teachers=[teacher] * n) for n in (0, 1, 2)]
    losses = [next(run.epochs()).loss for run in runs]
    assert losses[1] != losses[0]
    assert losses[2] == pytest.approx(losses[1])  # the same teacher twice teaches the same
    assert same(weights(teacher), before)
    with pytest.raises(EdgeAscError, match="another teachers"):
        next(trainer(tmp_path / "1", recipe).epochs())


def test_a_head_has_no_teachers(tmp_path: Path) -> None:
    with pytest.raises(EdgeAscError, match="has no use for teachers"):
        trainer(tmp_path, FAST.only(("head",)), teachers=[CRNN(ModelConfig(classes=2))])


def test_initial_weights_are_where_training_starts(tmp_path: Path) -> None:
    torch.manual_seed(5)
    initial = CRNN(ModelConfig(classes=2))
    run = trainer(tmp_path, start=Start(initial, (0, 1)))
    assert same(weights(run.model), weights(initial))
    assert same(weights(run.average), weights(initial))
    with pytest.raises(
        EdgeAscError, match="a model with backbone resnet; this one has backbone fuse: give the options"
    ):
        trainer(tmp_path, start=Start(CRNN(ModelConfig(classes=2, backbone="resnet")), (0, 1)))
    with pytest.raises(EdgeAscError, match="starts from the head gap; gru cannot take its weights"):
        trainer(tmp_path, start=Start(CNN(ModelConfig(classes=2, head="gap")), (0, 1)))


def test_other_labels_keep_the_rows_of_the_labels_in_common(tmp_path: Path) -> None:
    torch.manual_seed(5)
    initial = CRNN(ModelConfig(classes=7))
    run = trainer(tmp_path, start=Start(initial, (3, None)))
    mine, theirs = weights(run.model), weights(initial)
    last = ("output.weight", "output.bias", "auxiliary.weight", "auxiliary.bias")
    assert all(torch.equal(mine[name], theirs[name]) for name in mine if name not in last)
    for name in last:
        assert torch.equal(mine[name][0], theirs[name][3])
        assert not (theirs[name] == mine[name][1]).any()


@pytest.mark.parametrize(("rows", "trained"), [((3, 5), False), ((3, None), True)])
def test_the_auxiliary_layer_of_a_head_is_trained_where_a_label_is_new(
    tmp_path: Path, rows: tuple[int | None, ...], trained: bool
) -> None:
    initial = CRNN(ModelConfig(classes=7))
    run = trainer(tmp_path, FAST.only(("head",)), start=Start(initial, rows))
    before = weights(run.model)
    list(run.epochs())
    after = weights(run.result)
    assert torch.equal(before["auxiliary.weight"], after["auxiliary.weight"]) != trained
    assert torch.equal(before["embedding.project.weight"], after["embedding.project.weight"])
    assert not torch.equal(before["gru.weight_ih_l0"], after["gru.weight_ih_l0"])


def test_class_weights_change_the_loss(tmp_path: Path) -> None:
    targets = [0, 1, 1, 1, 1, 1]
    losses = []
    for balance in (0.0, 1.0):
        recipe = FAST.override({"class_balance": balance})
        front_end = measure_normalisation(clips(), recipe, FrontEnd())
        run = Trainer(ModelConfig(classes=2), recipe, Examples(clips(), targets, 2, front_end), tmp_path / str(balance))
        losses.append([epoch.loss for epoch in run.epochs()])
    assert losses[0][0] != losses[1][0]
    assert losses[0][-1] != losses[1][-1]


def test_normalisation_is_that_of_all_frames() -> None:
    features = clips()
    front_end = measure_normalisation(features, Recipe(), FrontEnd())
    frames = np.concatenate(features).astype(np.float64)
    np.testing.assert_allclose(front_end.mean, frames.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(front_end.scale, 1 / frames.std(axis=0), rtol=1e-4)


def test_normalisation_is_taken_at_the_levels_of_the_recipe() -> None:
    recipe = Recipe(stages=(Stage(augmentation=Augmentation(gain=(-20.0, -20.0))),))
    features = clips()
    front_end = measure_normalisation(features, recipe, FrontEnd())
    quiet = to_log_mel(0.01 * to_power(np.concatenate(features), 1e-8), 1e-8).astype(np.float64).mean(0)
    np.testing.assert_allclose(front_end.mean, quiet, rtol=1e-4)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_learns_and_resumes(tmp_path: Path, precision: Any) -> None:
    recipe = Recipe(stages=(structs.replace(EVERYTHING, epochs=4, crops=1, final_learning_rate=0.0),))
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
    with pytest.raises(EdgeAscError, match="a batch of stage trunk has 3 crops for 3 processes; expected at least 2"):
        trainer(tmp_path, compute=Compute(ranks=3))
