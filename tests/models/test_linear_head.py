from __future__ import annotations

from typing import Literal

import pytest
import torch

from edge_asc.models import CRNN, ModelConfig, build
from edge_asc.models.complexity import complexity


def model(form: Literal["causal", "windowed"] = "causal") -> CRNN:
    torch.manual_seed(0)
    built = build(ModelConfig(head="linear", classes=50, form=form)).eval()
    assert isinstance(built, CRNN)
    return built


@torch.no_grad()
def test_streaming_is_exact_and_carries_no_hidden_state() -> None:
    linear = model()
    features = torch.randn(2, 1, 256, 48)
    state = linear.initial_state(2)
    assert all(name.startswith("cache_") for name in state)
    steps = []
    for first in range(0, 48, 16):
        logits, state = linear.step(features[..., first : first + 16], state)
        steps.append(logits)
    torch.testing.assert_close(torch.cat(steps, 1), linear(features).logits)


@pytest.mark.parametrize("form", ["causal", "windowed"])
@torch.no_grad()
def test_the_output_layer_reads_the_embeddings(form: Literal["causal", "windowed"]) -> None:
    linear = model(form)
    features = torch.randn(1, 1, 256, 40)
    output = linear(features)
    torch.testing.assert_close(output.logits, linear.output(linear.embed(features)))
    assert output.auxiliary is None
    assert output.hidden.shape == (0, 1, 108)
    assert linear.readout is linear.output


def test_parameters() -> None:
    """The backbone and embedding of the CRNN, and 108 × 50 + 50 of the output layer instead of GRU and auxiliary."""
    recurrent = build(ModelConfig(classes=50))
    shared = sum(p.numel() for name, p in recurrent.named_parameters() if name.startswith(("backbone", "embedding")))
    assert complexity(model()).parameters_deployed == shared + 108 * 50 + 50
    assert ModelConfig.from_json(model().config.to_json()) == model().config
