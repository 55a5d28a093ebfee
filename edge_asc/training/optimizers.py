"""Optimisers of a stage: SGD, AdamW, or Muon for the kernels of full convolutions with AdamW for the rest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from edge_asc.training.recipe import Stage

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


def orthogonalise(matrices: Tensor) -> Tensor:
    """Matrices (n, rows, columns) with singular values near 1, by five Newton-Schulz iterations."""
    a, b, c = COEFFICIENTS
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    is_tall = x.size(1) > x.size(2)
    if is_tall:
        x = x.mT
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.mT if is_tall else x
    return result


class Muon(torch.optim.Optimizer):
    """Muon (Jordan, 2024) with Nesterov momentum and decoupled weight decay, for kernels that are matrices.

    The same update as `torch.optim.Muon(adjust_lr_fn="original")`: scaled by √max(1, rows / columns). That one iterates
    in bfloat16, kernel by kernel, which on a CPU takes as long as the rest of a step; this one iterates in float32 over
    all kernels of one shape at once.
    """

    def __init__(
        self, kernels: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0, momentum: float = 0.95
    ) -> None:
        super().__init__(kernels, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the kernels by their gradients, as matrices (outputs, all other axes)."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for kernel in group["params"]:
                if kernel.grad is not None:
                    by_shape[kernel.shape].append(kernel)
            for kernels in by_shape.values():
                self._update(kernels, group["lr"], group["weight_decay"], group["momentum"])

    def _update(self, kernels: list[Tensor], rate: float, decay: float, momentum: float) -> None:
        directions = []
        for kernel in kernels:
            assert kernel.grad is not None
            state = self.state[kernel]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(kernel)
            state["momentum_buffer"].lerp_(kernel.grad, 1.0 - momentum)
            directions.append(kernel.grad.lerp(state["momentum_buffer"], momentum).flatten(1))
        updates = orthogonalise(torch.stack(directions))
        scale = max(1.0, updates.size(1) / updates.size(2)) ** 0.5
        for kernel, update in zip(kernels, updates, strict=True):
            kernel.mul_(1.0 - rate * decay)
            kernel.add_(update.reshape(kernel.shape), alpha=-rate * scale)


class Optimizers:
    """The optimisers of one stage, as one.

    Args:
        model: its parameters that require gradients are optimised.
        stage: which optimisers, with which settings.
    """

    def __init__(self, model: nn.Module, stage: Stage) -> None:
        parameters = [p for p in model.parameters() if p.requires_grad]
        self.parameters = parameters
        kernels = [p for p in parameters if _is_matrix(p)] if stage.optimizer == "muon" else []
        mine = {id(p) for p in kernels}
        groups = [
            {"params": [p for p in parameters if p.ndim > 1 and id(p) not in mine], "weight_decay": stage.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        rate = stage.learning_rate
        if stage.optimizer == "sgd":
            nesterov = stage.momentum > 0
            first: torch.optim.Optimizer = torch.optim.SGD(groups, rate, momentum=stage.momentum, nesterov=nesterov)
        else:
            first = torch.optim.AdamW(groups, rate)
        self._members = [(first, rate)]
        if kernels:
            muon = Muon(kernels, stage.matrix_learning_rate, stage.matrix_weight_decay)
            self._members.append((muon, stage.matrix_learning_rate))

    def __iter__(self) -> Iterator[torch.optim.Optimizer]:
        return iter([optimizer for optimizer, _ in self._members])

    def set_rates(self, rate_of: Callable[[float], float]) -> None:
        """Set all learning rates to `rate_of` their peaks."""
        for optimizer, peak in self._members:
            for group in optimizer.param_groups:
                group["lr"] = rate_of(peak)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> list[dict[str, Any]]:
        """The state of each optimiser."""
        return [optimizer.state_dict() for optimizer, _ in self._members]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Restore what `state_dict` gave."""
        for (optimizer, _), state in zip(self._members, states, strict=True):
            optimizer.load_state_dict(state)


def _is_matrix(parameter: Tensor) -> bool:
    """Whether a parameter is the kernel of a convolution that mixes channels: pointwise or full, not depthwise."""
    return parameter.ndim == 4 and parameter.shape[1] > 1
