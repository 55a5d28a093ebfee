from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
import torch

from edge_asc.models import CNN, CRNN, ModelConfig
from edge_asc.models.complexity import Complexity, complexity

torch.set_num_threads(1)  # the models are too small to share, and the machine may be busy

BACKBONES = ("resnet", "bcresnet", "fuse")


@cache
def cost(backbone: str, form: Any = "causal", auxiliary: bool = True) -> Complexity:
    return complexity(CRNN(ModelConfig(backbone=backbone, form=form, auxiliary=auxiliary)))


def significant(value: int, digits: int = 3) -> float:
    return float(f"{value:.{digits}g}")


@pytest.mark.parametrize(
    ("backbone", "ten", "one", "step", "cache", "field", "parameters", "deployed"),
    [
        ("resnet", 883e6, 89.8e6, 22.4e6, 76_800, 107, 136_844, 136_194),
        ("bcresnet", 210e6, 21.5e6, 5.37e6, 2_418, 115, 154_865, 153_605),
        ("fuse", 116e6, 11.7e6, 2.93e6, 23_808, 113, 147_800, 146_710),
    ],
)
def test_published_costs(
    backbone: str, ten: float, one: float, step: float, cache: int, field: int, parameters: int, deployed: int
) -> None:
    causal, windowed = cost(backbone), cost(backbone, "windowed")
    for found in (causal, windowed):
        assert (significant(found.macs_windows[10]), significant(found.macs_windows[1])) == (ten, one)
        assert (found.parameters, found.parameters_deployed) == (parameters, deployed)
        assert found.receptive_field == field
    assert causal.macs_step is not None
    assert significant(causal.macs_step) == step
    assert causal.cache_floats == cache
    assert (windowed.macs_step, windowed.cache_floats) == (None, None)


def test_auxiliary_layer_is_all_that_deployment_drops() -> None:
    trained, plain = cost("fuse"), cost("fuse", auxiliary=False)
    assert plain.parameters == plain.parameters_deployed == trained.parameters_deployed
    assert trained.macs_step is not None
    assert plain.macs_step is not None
    assert trained.macs_step - plain.macs_step == 10 * 108


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("form", ["causal", "windowed"])
def test_receptive_field_is_the_support_of_the_gradient(backbone: str, form: Any) -> None:
    torch.manual_seed(0)
    model = CRNN(ModelConfig(backbone=backbone, form=form)).eval()
    frames, column = (120, 14) if form == "causal" else (136, 8)
    x = torch.randn(1, 1, 256, frames, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.backbone(x)[..., column].abs().sum(), x)
    touched = gradient.abs().sum((0, 1, 2)).nonzero().flatten()
    assert int(touched[-1] - touched[0]) + 1 == cost(backbone, form).receptive_field


def test_cnn_has_neither_steps_nor_auxiliary_layer() -> None:
    found = complexity(CNN(ModelConfig(head="gap", form="windowed")))
    assert found.parameters == found.parameters_deployed == 130_578
    assert (found.macs_step, found.cache_floats) == (None, None)
    # All of the CRNN's backbone, and a pointwise classifier on 8 mel rows of 40 columns.
    crnn = cost("fuse", "windowed").macs_windows[10]
    assert 0 < found.macs_windows[10] < crnn + 108 * 10 * 8 * 40


def test_res_norm_sees_everything() -> None:
    config = ModelConfig(backbone="bcresnet", form="windowed", res_norm=True)
    assert complexity(CRNN(config)).receptive_field is None


def test_counting_leaves_model_and_generator_alone() -> None:
    model = CRNN(ModelConfig()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    complexity(model)
    assert torch.equal(generator, torch.get_rng_state())
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(layer._forward_hooks for layer in model.modules())


def test_json() -> None:
    found = cost("fuse")
    value = json.loads(json.dumps(found.to_json()))
    assert value["macs_windows"] == {"1": found.macs_windows[1], "10": found.macs_windows[10]}
    assert value["parameters_deployed"] == 146_710
