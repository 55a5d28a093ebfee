"""The passes for XNNPACK, which change the cost alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from artefacts import BACKBONES, calibrated, clips, randomised
from edge_asc_export.graph import Conv2D, Fold, Graph, Unfold
from edge_asc_export.layers import MOST_TAPS
from edge_asc_export.lowering import lower_gru, lower_step, lower_window
from edge_asc_export.passes import fold_mel as folding
from edge_asc_export.passes.equalise import equalise_by_plan
from edge_asc_export.passes.fold_mel import FACTOR
from edge_asc_export.pipeline import Lowered, run_passes
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import SCHEMES
from edge_asc_export.simulation import Simulation

FLOAT = Plan(SCHEMES["none"])


def lowered(backbone: str, form: str) -> Graph:
    model = randomised(3, backbone=backbone, form=form)
    return lower_step(model) if form == "causal" else lower_window(model, 1, 31)


def optimise(graph: Graph, plan: Plan = FLOAT) -> Lowered:
    return run_passes(Lowered.of(graph, plan), (folding.PASS,))


def fold_mel(graph: Graph) -> Graph:
    return run_passes(Lowered.of(graph, FLOAT), (folding.PASS,)).graph


def stem(graph: Graph) -> Conv2D:
    return next(node for node in graph.nodes if isinstance(node, Conv2D))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_step_is_the_same_to_the_last_digits_of_float64(backbone: str) -> None:
    graph = lowered(backbone, "causal")
    features = torch.from_numpy(np.stack(clips(2, 40))).transpose(1, 2)[:, None] + 7.0
    expected = Simulation(graph, dtype=torch.float64).stream(features)
    found = Simulation(optimise(graph).graph, dtype=torch.float64).stream(features)
    assert expected.shape == (2, 5, 10)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_window_is_the_same_to_the_last_digits_of_float64(backbone: str) -> None:
    graph = lowered(backbone, "windowed")
    features = torch.from_numpy(np.stack(clips(2, 31))).transpose(1, 2)[:, None].double() + 7.0
    expected = Simulation(graph, dtype=torch.float64)({"features": features})["embeddings"]
    found = Simulation(optimise(graph).graph, dtype=torch.float64)({"features": features})["embeddings"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("backbone", "rows"), [("fuse", 1), ("bcresnet", 2), ("resnet", 4)])
@pytest.mark.parametrize("form", ["causal", "windowed"])
def test_the_stem_reads_two_blocks_of_bins(backbone: str, rows: int, form: str) -> None:
    graph = lowered(backbone, form)
    folded = fold_mel(graph)
    conv = stem(folded)
    assert conv.weight.shape == (2, 5, FACTOR, rows * stem(graph).weight.shape[3])
    assert conv.stride == (1, stem(graph).stride[1])
    assert sum(isinstance(node, Fold) for node in folded.nodes) == 1
    assert sum(isinstance(node, Unfold) for node in folded.nodes) == (rows > 1)
    assert folded.shapes[stem(graph).output] == graph.shapes[stem(graph).output]
    if form == "causal":
        (cache,) = (port.tensor for port in folded.inputs if port.tensor.startswith("cache_stem"))
        assert folded.shapes[cache] == (65, graph.shapes[cache][1], FACTOR)
        assert folded.shapes["features"] == graph.shapes["features"] == (256, 8, 1)
    assert fold_mel(folded) is folded


def test_long_means_are_taken_in_two_steps() -> None:
    nodes = {node.output: node for node in lowered("bcresnet", "causal").nodes if isinstance(node, Conv2D)}
    means = [node for name, node in nodes.items() if name.endswith("_mean")]
    assert len(means) == 9
    for whole in means:
        parts = nodes[f"{whole.output}_parts"]
        assert whole.input == parts.output
        assert parts.stride[0] == parts.weight.shape[0] == 8
        assert len(parts.weight) * len(whole.weight) > MOST_TAPS


def is_mean(node: Any) -> bool:
    return isinstance(node, Conv2D) and node.output.endswith("_mean_parts")


def test_an_equalised_mean_keeps_the_scale_of_each_channel() -> None:
    graph = lowered("bcresnet", "causal")
    plan = calibrated(randomised(3, backbone="bcresnet")).with_scheme(SCHEMES["int8"])
    prepared = equalise_by_plan(graph, plan)
    scaled = [node for node in prepared.nodes if is_mean(node) and np.ptp(node.weight[0]) > 0]  # type: ignore[attr-defined]
    assert scaled
    features = torch.from_numpy(np.stack(clips(1, 16))).transpose(1, 2)[:, None] + 7.0
    expected = Simulation(prepared, dtype=torch.float64).stream(features)
    found = Simulation(optimise(prepared).graph, dtype=torch.float64).stream(features)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_new_tensors_are_quantised_as_those_they_are_made_of() -> None:
    plan = calibrated(randomised(3, backbone="bcresnet")).with_scheme(SCHEMES["int8"])
    graph = equalise_by_plan(lowered("bcresnet", "causal"), plan)
    found = optimise(graph, plan)
    qparams = found.qparams
    assert qparams["features_folded"] == plan.qparams["features"]
    assert qparams[f"{stem(graph).output}_folded"] == plan.qparams[stem(graph).output]
    assert qparams["body_0_mean_parts"] == plan.qparams["body_0_mean_parts"]
    assert qparams["body_0_mean_parts"].scale < qparams["body_0_mel"].scale
    assert {node.output for node in found.graph.nodes if isinstance(node, Conv2D)} <= set(qparams)


def test_what_has_no_stem_is_left_as_it_is() -> None:
    graph = lower_gru(randomised(0, form="windowed"))
    assert fold_mel(graph) is graph
