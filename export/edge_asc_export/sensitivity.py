"""Sensitivity: how much the error of every value of a model changes its probabilities, by gradients.

For small errors, the Kullback-Leibler divergence of the changed probabilities from the unchanged ones is half the
quadratic form of the Fisher information in the errors (S. Kullback, Information Theory and Statistics, 1959, chapter
2.6). It is estimated from gradients of the log-likelihood of labels that are drawn from the model's own probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from edge_asc_export.graph import Concat, Fold, Graph, MaxPool, Reshape, Slice, Unfold
from edge_asc_export.simulation import Simulation

# Draws of labels for each step, and streams at a time: a stream's whole computation is kept for the gradients.
DRAWS = 2
STREAMS = 8

# Operations whose results are values of their input: an error arises where a value does.
MOVES = (Concat, Fold, MaxPool, Reshape, Slice, Unfold)


@dataclass(frozen=True)
class Trace:
    """A value that arises in one step of a batch of streams, and how outputs depend on it.

    Attributes:
        tensor: name of the tensor.
        value: (stream, …).
        gradients: of the log-likelihood of drawn labels, summed over the steps with random signs, for each draw; empty
            where no output depends on the value. The mean square of a sum of errors, each times its gradient, is the
            sum over the steps of twice the divergence that the errors cause.
    """

    tensor: str
    value: Tensor
    gradients: tuple[Tensor, ...]


@dataclass(frozen=True)
class Traces:
    """All values that arise in a batch of streams; `steps` is the number of steps of all streams."""

    values: tuple[Trace, ...]
    steps: int


class Tracing(Simulation):
    """A float simulation that keeps the values that arise in it, to take gradients with respect to them."""

    def __init__(self, graph: Graph) -> None:
        self.values: list[tuple[str, Tensor]] = []
        self.sources: frozenset[str] = frozenset()
        super().__init__(graph)
        self.sources = _find_sources(self.graph)

    def round(self, name: str, value: Tensor) -> Tensor:
        """Keep a value that arises here; nothing is rounded."""
        if name not in self.sources:
            return value
        value = value.detach().requires_grad_() if not value.requires_grad else value
        self.values.append((name, value))
        return value


@torch.enable_grad()
def trace(
    simulations: Sequence[Tracing],
    run: Callable[[], Tensor],
    generator: torch.Generator,
    draws: int,
    temperature: float = 1.0,
) -> Traces:
    """Return the values of all steps of a batch of streams, and their gradients.

    Args:
        simulations: what `run` computes with.
        run: returns logits, (stream, step, class).
        generator: of the draws.
        draws: of labels, ≥ 1.
        temperature: > 0, that the logits are divided by. A model is surer of clips that it was trained on than of
            others; with a higher temperature, they matter as if it were less sure.
    """
    for simulation in simulations:
        simulation.values.clear()
    logits = run()
    log_p = torch.log_softmax(logits / temperature, dim=2)
    streams, steps, classes = logits.shape
    kept = [entry for simulation in simulations for entry in simulation.values]
    tensors = [value for _, value in kept]
    by_draw: list[tuple[Tensor | None, ...]] = []
    for draw in range(draws):
        drawn = torch.multinomial(log_p.detach().exp().reshape(-1, classes), 1, generator=generator)
        # Gradients of different steps may not cancel or add up: their products are to vanish on average.
        signs = torch.randint(0, 2, (streams, steps), generator=generator) * 2.0 - 1.0
        likelihood = (log_p.gather(2, drawn.reshape(streams, steps, 1))[..., 0] * signs).sum()
        by_draw.append(torch.autograd.grad(likelihood, tensors, retain_graph=draw + 1 < draws, allow_unused=True))
    values = []
    for (name, value), *each in zip(kept, *by_draw, strict=True):
        gradients = tuple(gradient for gradient in each if gradient is not None)
        values.append(Trace(name, value.detach(), gradients))
    return Traces(tuple(values), streams * steps)


def measure_noise(tracing: Tracing, rounded: Simulation, batches: Sequence[Tensor]) -> dict[str, float]:
    """Return the divergence that each tensor's own rounding causes, nats a step, while all else is exact.

    Errors of different tensors are taken as independent: the divergence of a model is about the sum over its tensors.
    Errors of one tensor are not: what is clipped errs to one side everywhere.

    Args:
        tracing: of a causal step.
        rounded: simulation of the integer model on the same graph; its `round` gives the errors.
        batches: normalised log-mel, (stream, 1, mel, time), at most `STREAMS` streams each.
    """
    generator = torch.Generator().manual_seed(0)
    noise: dict[str, float] = {}
    steps = 0
    for streams in batches:
        traces = trace([tracing], partial(tracing.stream, streams), generator, DRAWS)
        changes: dict[str, Tensor] = {}
        for each in traces.values:
            if each.tensor in rounded.qparams and each.gradients:
                error = rounded.round(each.tensor, each.value) - each.value
                change = torch.stack([(gradient * error).flatten(1).sum(1) for gradient in each.gradients])
                changes[each.tensor] = changes.get(each.tensor, torch.zeros(())) + change
        for name, change in changes.items():
            noise[name] = noise.get(name, 0.0) + float(change.square().mean(0).sum()) / 2.0
        steps += traces.steps
    return {name: value / steps for name, value in noise.items()}


def _find_sources(graph: Graph) -> frozenset[str]:
    """Return the tensors whose values arise in a graph: features, embeddings, and results of arithmetic."""
    states = {source.tensor for source, _ in graph.states()}
    inputs = {port.tensor for port in graph.inputs} - states
    return frozenset(inputs | {node.output for node in graph.nodes if not isinstance(node, MOVES)})
