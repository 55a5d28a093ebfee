from __future__ import annotations

import copy

import pytest
import torch
from msgspec import structs
from torch import nn

from edge_asc.training.optimizers import Muon, Optimizers, orthogonalise
from edge_asc.training.recipe import PAPER, STAGED


@pytest.mark.parametrize("shape", [(24, 24), (48, 16), (16, 48)])
def test_orthogonalised_singular_values_are_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(3, *shape)))
    assert values.median() > 0.65  # the smallest ones of a square matrix come last
    assert values.max() < 1.3


@pytest.mark.parametrize("shape", [(48, 16), (16, 48)])
def test_muon_is_that_of_torch_up_to_its_bfloat16(shape: tuple[int, int]) -> None:
    """Scaling (`adjust_lr_fn="original"`), momentum and weight decay are the same."""
    torch.manual_seed(0)
    kernels = [nn.Parameter(torch.randn(*shape, 1, 1)) for _ in range(2)]
    matrices = [nn.Parameter(kernel.detach()[:, :, 0, 0].clone()) for kernel in kernels]
    begun = [matrix.detach().clone() for matrix in matrices]
    ours = Muon(kernels, 0.02, 0.05)
    theirs = torch.optim.Muon(matrices, 0.02, 0.05, momentum=0.95, adjust_lr_fn="original")
    for _ in range(3):
        for kernel, matrix in zip(kernels, matrices, strict=True):
            gradient = torch.randn(shape)
            kernel.grad, matrix.grad = gradient[:, :, None, None].clone(), gradient.clone()
        ours.step()
        theirs.step()
    for kernel, matrix, first in zip(kernels, matrices, begun, strict=True):
        moved = torch.linalg.norm(matrix - first)
        assert torch.linalg.norm(kernel[:, :, 0, 0] - matrix) < 0.03 * moved


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 3)
    )


def test_muon_takes_kernels_that_mix_channels() -> None:
    module = model()
    adamw, muon = Optimizers(module, STAGED.stages[0])
    (kernels,) = muon.param_groups
    assert {id(p) for p in kernels["params"]} == {id(module[0].weight), id(module[4].weight)}
    decayed, plain = adamw.param_groups
    assert {id(p) for p in decayed["params"]} == {id(module[2].weight), id(module[3].weight)}
    assert all(p.ndim == 1 for p in plain["params"])
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.05, 0.0)


def test_only_what_requires_gradients_is_optimised() -> None:
    module = model().requires_grad_(False)
    module[2].requires_grad_(True)
    optimizers = Optimizers(module, STAGED.stages[0])
    assert {id(p) for p in optimizers.parameters} == {id(p) for p in module[2].parameters()}
    (first,) = Optimizers(module, PAPER.stages[0])
    assert isinstance(first, torch.optim.SGD)
    assert isinstance(
        next(iter(Optimizers(module, structs.replace(PAPER.stages[0], optimizer="adamw")))), torch.optim.AdamW
    )


def test_rates_are_set_by_their_peaks() -> None:
    stage = STAGED.stages[0]
    optimizers = Optimizers(model(), stage)
    optimizers.set_rates(lambda peak: 0.5 * peak)
    rates = [{group["lr"] for group in each.param_groups} for each in optimizers]
    assert rates == [{0.5 * stage.learning_rate}, {0.5 * stage.matrix_learning_rate}]


def test_state_is_restored() -> None:
    module = model()
    optimizers = Optimizers(module, STAGED.stages[0])

    def step(module: nn.Module, optimizers: Optimizers) -> None:
        for i, parameter in enumerate(module.parameters()):
            parameter.grad = torch.full_like(parameter, 0.1 * i) + parameter.detach()
        for each in optimizers:
            each.step()

    step(module, optimizers)
    twin = copy.deepcopy(module)
    again = Optimizers(twin, STAGED.stages[0])
    again.load_state_dict(copy.deepcopy(optimizers.state_dict()))
    step(module, optimizers)
    step(twin, again)
    for mine, theirs in zip(module.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    optimizers.zero_grad()
    assert all(parameter.grad is None for parameter in module.parameters())
