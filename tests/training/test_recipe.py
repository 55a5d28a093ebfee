from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import structs

from edge_asc.errors import EdgeAscError
from edge_asc.training.recipe import PAPER, RECIPES, STAGED, Augmentation, Recipe, Stage


def test_paper_recipe_is_the_papers() -> None:
    (stage,) = PAPER.stages
    assert (stage.optimizer, stage.learning_rate, stage.weight_decay, stage.epochs) == ("sgd", 0.05, 0.001, 50)
    assert stage.warmup * stage.epochs == 5.0
    assert stage.frames == (312, 312)  # 10 s
    assert (stage.trains, stage.loss, stage.auxiliary_weight) == ("all", "streams", 1.0)
    assert stage.augmentation == Augmentation()
    assert not stage.augmentation.changes_power


@pytest.mark.parametrize("name", RECIPES)
def test_json_round_trip(name: str) -> None:
    recipe = RECIPES[name]
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        PAPER.stages[0].epochs = 3  # type: ignore[misc]


def test_override_of_one_stage_and_of_all() -> None:
    changed = STAGED.override(
        {
            "trunk.epochs": 3,
            "trunk.augmentation.gain": [-3, 3],
            "augmentation.equaliser": 1,
            "clip_gradient": 1,
            "seed": 7,
        }
    )
    trunk, head = changed.stages
    assert (trunk.epochs, head.epochs, changed.seed) == (3, STAGED.stages[1].epochs, 7)
    assert (trunk.augmentation.gain, head.augmentation.gain) == ((-3, 3), (-40, 5))
    assert (trunk.augmentation.equaliser, head.augmentation.equaliser) == (1.0, 1.0)
    assert (trunk.clip_gradient, head.clip_gradient) == (1.0, 1.0)
    assert trunk.augmentation.mel_masks == STAGED.stages[0].augmentation.mel_masks
    assert STAGED.stages[0].augmentation.gain == (-40.0, 5.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 3}, "unknown recipe setting epoch; expected a setting of the recipe"),
        ({"augmentation.gian": 3}, "unknown recipe setting augmentation.gian; .*: gain, gain_kept"),
        ({"model.epochs": 3}, "unknown recipe setting model.epochs"),
        ({"trunk.name": "x"}, "unknown recipe setting trunk.name"),
        ({"trunk.epochs": 0}, "recipe trunk.epochs: expected `int` >= 1"),
        ({"trunk.epochs": 2.5}, "recipe trunk.epochs: expected `int`, got `float`"),
        ({"batch": 0}, "recipe trunk.batch: expected `int` >= 2"),
        ({"trunk.optimizer": "adam"}, "recipe trunk.optimizer: invalid enum value 'adam'"),
        ({"trunk.frames": [12, 24]}, r"recipe trunk.frames\[0\]: expected `int` that's a multiple of 8"),
        ({"trunk.frames": [24, 16]}, r"recipe trunk: frames are 24\.\.16; expected increasing order"),
        ({"trunk.augmentation.gain": [5, -5]}, r"recipe trunk.augmentation: gain is 5\.\.-5 dB; expected increasing"),
        ({"trunk.loss": "streams"}, "recipe trunk: a stage that trains the trunk has the loss time_mean"),
        ({"head.views": 0}, "recipe head: views belong to a stage that trains the head"),
        ({"trunk.patience": 3}, "recipe: patience needs validation clips"),
        ({"validation": 1.0}, "recipe validation: expected `float` < 1.0"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(EdgeAscError, match=message):
        STAGED.override(settings)


def test_not_a_recipe() -> None:
    with pytest.raises(EdgeAscError, match="recipe: expected `object`, got `array`"):
        Recipe.from_json([])
    with pytest.raises(EdgeAscError, match=r"recipe: object contains unknown field `nonsense`"):
        Recipe.from_json({"stages": [{"name": "trunk", "nonsense": 1}]})
    with pytest.raises(EdgeAscError, match=r"recipe epochs: expected `int` >= 1"):  # of one stage: without its name
        PAPER.override({"epochs": 0})


def test_stages_have_names_of_their_own() -> None:
    with pytest.raises(ValueError, match="stages are named a, a; expected different names"):
        Recipe(stages=(Stage(name="a"), Stage(name="a")))
    with pytest.raises(ValueError, match="none that of a setting"):
        Recipe(stages=(Stage(name="seed"),))


def test_epochs_scale_all_stages() -> None:
    epochs = [stage.epochs for stage in STAGED.stages]
    assert [stage.epochs for stage in STAGED.with_epochs(10).stages] == [10, round(10 * epochs[1] / epochs[0])]
    assert [stage.epochs for stage in STAGED.with_epochs(1).stages] == [1, 1]
    assert STAGED.with_epochs(max(epochs)) == STAGED


def test_only_some_stages() -> None:
    assert [stage.name for stage in STAGED.only(("head",)).stages] == ["head"]
    assert STAGED.only(("trunk", "head")) == STAGED
    with pytest.raises(EdgeAscError, match="the recipe has no stage tail; expected some of trunk, head"):
        STAGED.only(("tail",))


def test_long_crops_come_last() -> None:
    stage = structs.replace(STAGED.stages[0], epochs=20, long_share=0.1)
    assert [stage.is_long(epoch) for epoch in (0, 17, 18, 19)] == [False, False, True, True]
    assert not structs.replace(stage, long_share=0.0).is_long(19)
