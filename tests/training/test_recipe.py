from __future__ import annotations

import json
from typing import Any

import pytest

from edge_asc.errors import EdgeAscError
from edge_asc.training.recipe import PAPER, RECIPES, SMALL, Augmentation, Recipe


def test_paper_recipe_is_the_papers() -> None:
    given = (PAPER.optimizer, PAPER.learning_rate, PAPER.weight_decay, PAPER.epochs, PAPER.warmup_epochs)
    assert given == ("sgd", 0.05, 0.001, 50, 5.0)
    assert PAPER.frames == (312, 312)  # 10 s
    assert PAPER.augmentation == Augmentation()


@pytest.mark.parametrize("name", RECIPES)
def test_json_round_trip(name: str) -> None:
    recipe = RECIPES[name]
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_override() -> None:
    changed = SMALL.override({"epochs": 3, "frames": [16, 24], "augmentation.mixup": 0.0, "augmentation.gain": (-3, 3)})
    assert (changed.epochs, changed.frames) == (3, (16, 24))
    assert (changed.augmentation.mixup, changed.augmentation.gain) == (0.0, (-3, 3))
    assert changed.augmentation.equaliser == SMALL.augmentation.equaliser
    assert changed.batch == SMALL.batch
    assert SMALL.augmentation.mixup == 0.3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 3}, "unknown recipe setting epoch; expected some of optimizer, learning_rate"),
        ({"augmentation.gian": 3}, "unknown recipe setting gian; expected some of gain"),
        ({"model.epochs": 3}, "unknown recipe setting model.epochs"),
        ({"epochs": 0}, "recipe epochs is 0; expected 1 to"),
        ({"batch": 0}, "recipe batch is 0"),
        ({"crops": -1}, "recipe crops is -1"),
        ({"optimizer": "adam"}, "'adam'; expected 'sgd' or 'adamw'"),
        ({"frames": [12, 24]}, r"12\.\.24; expected multiples of 8"),
        ({"frames": [24, 16]}, r"24\.\.16; expected multiples of 8 in increasing order"),
        ({"frames": [0, 16]}, "multiples of 8"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(EdgeAscError, match=message):
        PAPER.override(settings)
