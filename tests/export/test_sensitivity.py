"""Sensitivities against the divergence that errors cause."""

from functools import partial

import numpy as np
import pytest
import torch

from artefacts import randomised
from edge_asc_export.graph import Concat, Slice
from edge_asc_export.lowering import lower_step
from edge_asc_export.sensitivity import Trace, Tracing, trace
from edge_asc_export.simulation import Simulation

DRAWS = 48


class Disturbed(Simulation):
    """Adds an error to every value of one tensor."""

    def __init__(self, graph, name: str, size: float) -> None:  # type: ignore[no-untyped-def]
        super().__init__(graph)
        self.name, self.size, self.errors = name, size, list[torch.Tensor]()

    def round(self, name: str, value: torch.Tensor) -> torch.Tensor:
        if name != getattr(self, "name", None):
            return value
        generator = torch.Generator().manual_seed(len(self.errors))
        self.errors.append(self.size * torch.randn(value.shape, generator=generator))
        return value + self.errors[-1]


@pytest.fixture(scope="module")
def traces() -> tuple[torch.Tensor, list[Trace]]:
    rng = np.random.default_rng(3)
    x = torch.from_numpy(rng.normal(0, 1.5, (4, 1, 256, 48)).astype(np.float32).clip(-4, 4))
    tracing = Tracing(lower_step(randomised(head="linear")))
    traces = trace([tracing], partial(tracing.stream, x), torch.Generator().manual_seed(1), DRAWS)
    assert traces.steps == 4 * 6
    return x, list(traces.values)


@pytest.mark.parametrize("name", ["logits", "features", "body_0_time", "body_3_expand", "embedding"])
def test_it_predicts_the_divergence_that_small_errors_cause(
    name: str, traces: tuple[torch.Tensor, list[Trace]]
) -> None:
    x, found = traces
    graph = lower_step(randomised(head="linear"))
    mine = [each for each in found if each.tensor == name]
    assert len(mine) == 6
    size = 0.02 * float(torch.cat([each.value.flatten() for each in mine]).std())
    disturbed = Disturbed(graph, name, size)
    expected = Simulation(graph).stream(x).double().log_softmax(2)
    actual = disturbed.stream(x).double().log_softmax(2)
    divergence = float((expected.exp() * (expected - actual)).sum(2).mean())
    sums = torch.zeros(DRAWS, len(x))
    for step, error in zip(mine, disturbed.errors, strict=True):
        assert len(step.gradients) == DRAWS
        sums += torch.stack([(gradient * error).flatten(1).sum(1) for gradient in step.gradients])
    predicted = float((sums**2).mean()) / 2 / expected.shape[1]
    assert divergence > 0
    assert predicted == pytest.approx(divergence, rel=0.5)


def test_an_error_arises_where_a_value_does(traces: tuple[torch.Tensor, list[Trace]]) -> None:
    graph = lower_step(randomised(head="linear"))
    names = {each.tensor for each in traces[1]}
    assert {"features", "logits", "embedding"} <= names
    assert not names & {node.output for node in graph.nodes if isinstance(node, Concat | Slice)}
    assert not names & {source.tensor for source, _ in graph.states()}


def test_gradients_do_not_change_the_result() -> None:
    graph = lower_step(randomised())
    x = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (2, 1, 256, 16)).astype(np.float32))
    torch.testing.assert_close(Tracing(graph).stream(x).detach(), Simulation(graph).stream(x), rtol=0, atol=0)
