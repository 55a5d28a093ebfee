"""Objectives of stages: modules from inputs to logits, and losses."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_asc.errors import EdgeAscError
from edge_asc.models import CNN, CRNN
from edge_asc.models.crnn import Output
from edge_asc.training.recipe import Recipe, Stage


class TimeMean(nn.Module):
    """Backbone, embedding and the linear layer on it: the logits of a whole crop."""

    def __init__(self, model: CRNN) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor) -> Tensor:
        """Log-mel (B, 1, 256, T) → the time mean of the logits of the auxiliary layer or linear head, (B, classes)."""
        assert self.model.readout is not None
        pooled = self.model.embed(features).mean(1)
        logits: Tensor = self.model.readout(self.model.dropout(pooled))
        return logits


class Head(nn.Module):
    """Recurrent layers and output on embeddings, and the auxiliary layer beside them."""

    def __init__(self, model: CRNN) -> None:
        super().__init__()
        self.dropout, self.gru, self.output, self.auxiliary = model.dropout, model.gru, model.output, model.auxiliary

    def forward(self, embeddings: Tensor) -> Output:
        """Embeddings (B, n, channels) → logits and auxiliary logits, (B, n, classes) each, and the hidden state."""
        assert self.auxiliary is not None
        y, hidden = self.gru(self.dropout(embeddings))
        return Output(self.output(y), self.auxiliary(embeddings), hidden)


class LinearHead(nn.Module):
    """The output layer of a linear head on embeddings.

    Args:
        model: with a linear head.
        kept: labels whose rows of the output layer do not change.
    """

    def __init__(self, model: CRNN, kept: Sequence[int] = ()) -> None:
        super().__init__()
        self.dropout, self.output = model.dropout, model.output
        self._kept = list(kept)
        self._rows = [parameter.detach()[self._kept].clone() for parameter in self.output.parameters()]

    def forward(self, embeddings: Tensor) -> Tensor:
        """Embeddings (B, n, channels) → the time mean of the logits, (B, classes)."""
        logits: Tensor = self.output(self.dropout(embeddings.mean(1)))
        return logits

    @torch.no_grad()
    def restore(self) -> None:
        """Undo what an optimiser did to the rows that do not change."""
        for parameter, rows in zip(self.output.parameters(), self._rows, strict=True):
            parameter[self._kept] = rows

    @torch.no_grad()
    def shift_prior(self, label: int, stage: Stage) -> None:
        """Shift the bias of a label from its odds in the loss to those that the stage is made for.

        A posterior learnt under one prior becomes that under another by the difference of their logarithms (Saerens et
        al., 2002). Rare sounds of the label are learnt better under even odds.
        """
        if stage.other_prior:
            self.output.bias[label] += math.log(stage.other_prior / stage.other_weight)


def build_objective(model: CRNN | CNN, stage: Stage, kept: Sequence[int] = ()) -> nn.Module:
    """The part of `model` that a stage runs, with gradients for what it trains alone.

    Args:
        kept: labels whose rows of a linear head a stage that trains the head leaves as they are.

    Raises:
        EdgeAscError: the model has no such part.
    """
    if stage.trains == "all" and stage.loss == "streams":
        return model.requires_grad_(True)
    if not isinstance(model, CRNN) or model.readout is None:
        raise EdgeAscError(
            f"stage {stage.name} needs a linear head, or a GRU head with the auxiliary layer; "
            "train this model with the recipe 'paper', or leave the auxiliary layer on"
        )
    if stage.trains == "head":
        model.requires_grad_(False)
        model.output.requires_grad_(True)
        if model.config.head == "linear":
            return LinearHead(model, kept)
        model.gru.requires_grad_(True)
        return Head(model)
    model.requires_grad_(True)
    if model.config.head == "gru":
        for part in (model.gru, model.output):
            part.requires_grad_(False)
    return TimeMean(model)


def smooth(targets: Tensor, smoothing: float) -> Tensor:
    """Targets (B, classes) with label smoothing."""
    return targets * (1.0 - smoothing) + smoothing / targets.shape[1]


def running_posterior(logits: Tensor) -> Tensor:
    """Posterior after every step, (B, n, classes): the normalised running mean of log-softmax."""
    count = torch.arange(1, logits.shape[1] + 1, device=logits.device).view(1, -1, 1)
    return F.softmax(F.log_softmax(logits, 2).cumsum(1) / count, 2)


def streams_loss(
    output: Output, target: Tensor, single: bool, auxiliary_weight: float, weights: Tensor | None = None
) -> Tensor:
    """The paper's loss (eq. 3-5) for targets (B, classes); `weights`, (B,), weigh the crops."""
    steps = output.logits[:, -1:] if single else output.logits
    loss = cross_entropy(steps, target[:, None], weights)
    if output.auxiliary is not None:
        spread = target[:, None].expand_as(output.auxiliary)
        each = None if weights is None else weights[:, None, None].expand_as(spread)
        loss = loss + auxiliary_weight * F.binary_cross_entropy_with_logits(output.auxiliary, spread, each)
    return loss


def cross_entropy(logits: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
    """Mean cross entropy of logits (B, classes) or (B, n, classes) with soft targets that broadcast against them.

    `weights`, (B,), weigh the crops.
    """
    losses = -(target * F.log_softmax(logits, -1)).sum(-1)
    if weights is None:
        return losses.mean()
    return (losses.flatten(1).mean(1) if losses.ndim > 1 else losses).mul(weights).mean()


def head_loss(output: Output, target: Tensor, stage: Stage, single: bool, weights: Tensor | None) -> Tensor:
    """Cross entropy per step against the label and the running-mean posterior of the auxiliary layer.

    Where the auxiliary layer is trained too, because its labels are new, its own cross entropy is added.
    """
    assert output.auxiliary is not None
    share = stage.posterior_weight
    spread = (1.0 - share) * target[:, None] + share * running_posterior(output.auxiliary.detach())
    steps = slice(-1, None) if single else slice(None)
    loss = cross_entropy(output.logits[:, steps], spread[:, steps], weights)
    if output.auxiliary.requires_grad:
        loss = loss + cross_entropy(output.auxiliary.mean(1), target, weights)
    return loss


@torch.no_grad()
def teach(teachers: list[CRNN], features: Tensor, stage: Stage) -> Tensor:
    """The teachers' posterior of whole crops, (B, classes): mean over teachers, mean of log-softmax over time."""
    votes = []
    for teacher in teachers:
        if stage.loss == "time_mean" and teacher.readout is not None:
            steps = teacher.readout(teacher.embed(features))
        else:
            steps = teacher(features).logits
        votes.append(F.log_softmax(F.log_softmax(steps, dim=2).mean(1), dim=1).exp())
    return torch.stack(votes).float().mean(0)


def check_recipe(recipe: Recipe, teachers: int) -> None:
    """Make sure that the stages use what the run gives them.

    Raises:
        EdgeAscError: there are teachers, and all stages train the head alone.
    """
    if teachers and all(stage.trains == "head" for stage in recipe.stages):
        raise EdgeAscError("a stage that trains the head alone has no use for teachers; leave them out")
