"""The passes for onnxruntime, which change the cost alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from artefacts import BACKBONES, calibrated, clips, randomised
from edge_asc_export.format import FORMATS
from edge_asc_export.graph import Conv2D, Fold, Graph, Slice
from edge_asc_export.lowering import lower_step, lower_window
from edge_asc_export.passes.equalise import equalise_by_plan
from edge_asc_export.passes.merge_bands import merge_bands
from edge_asc_export.pipeline import Lowered, run_passes
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import SCHEMES
from edge_asc_export.simulation import Simulation


def optimise(graph: Graph, plan: Plan) -> Graph:
    return run_passes(Lowered.of(graph, plan), FORMATS.load("onnx").passes).graph


def convolutions(graph: Graph) -> int:
    return sum(isinstance(node, Conv2D) for node in graph.nodes)


def rows(graph: Graph) -> int:
    return sum(isinstance(node, Slice) and node.axis == 0 and graph.shapes[node.input][0] > 1 for node in graph.nodes)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_step_is_the_same(backbone: str) -> None:
    graph = lower_step(randomised(3, backbone=backbone))
    features = torch.from_numpy(np.stack(clips(2, 40))).transpose(1, 2)[:, None] + 7.0
    expected = Simulation(graph, dtype=torch.float64).stream(features)
    found = Simulation(
        run_passes(Lowered.of(graph, Plan(SCHEMES["none"])), FORMATS.load("onnx").passes).graph, dtype=torch.float64
    ).stream(features)
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_a_window_is_the_same() -> None:
    graph = lower_window(randomised(3, backbone="bcresnet", form="windowed"), 1, 31)
    features = torch.from_numpy(np.stack(clips(2, 31))).transpose(1, 2)[:, None].double() + 7.0
    expected = Simulation(graph, dtype=torch.float64)({"features": features})["embeddings"]
    found = Simulation(merge_bands(graph), dtype=torch.float64)({"features": features})["embeddings"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_the_bands_of_a_layer_are_one_convolution() -> None:
    graph = lower_step(randomised(3, backbone="bcresnet"))
    merged = merge_bands(graph)
    assert rows(graph) == 4 * 9
    assert rows(merged) == 0
    assert (
        sum(isinstance(node, Conv2D) for node in graph.nodes) - sum(isinstance(n, Conv2D) for n in merged.nodes) == 27
    )
    assert merge_bands(merged).nodes == merged.nodes


def test_bands_that_differ_by_more_than_factors_are_left_alone() -> None:
    graph = lower_step(randomised(3, backbone="bcresnet"))
    node = next(node for node in graph.nodes if isinstance(node, Conv2D) and node.output.endswith("_band1"))
    other = replace(node, weight=node.weight[::-1].copy())
    changed = replace(graph, nodes=tuple(other if found is node else found for found in graph.nodes))
    assert rows(merge_bands(changed)) == 4


def test_bands_in_another_order_are_left_alone() -> None:
    graph = lower_step(randomised(3, backbone="bcresnet"))
    band = next(node for node in graph.nodes if isinstance(node, Conv2D) and node.output.endswith("_band1"))
    rows_of = next(node for node in graph.nodes if node.output == band.input)
    assert isinstance(rows_of, Slice)
    other = replace(rows_of, begin=rows_of.begin + 1)
    changed = replace(graph, nodes=tuple(other if found is rows_of else found for found in graph.nodes))
    assert rows(merge_bands(changed)) == 4


def test_channels_of_zeros_stay_zeros() -> None:
    graph = lower_step(randomised(3, backbone="bcresnet"))
    nodes = []
    for node in graph.nodes:
        if isinstance(node, Conv2D) and "_band" in node.output:
            weight = node.weight.copy()
            weight[..., 0] = 0.0
            node = replace(node, weight=weight)
        nodes.append(node)
    merged = merge_bands(replace(graph, nodes=tuple(nodes)))
    factors = [value for name, value in merged.constants.items() if name.endswith("_factor")]
    assert len(factors) == 9
    assert all((value[..., 0] == 0.0).all() and np.isfinite(value).all() for value in factors)


def test_integers_keep_their_bands_and_fold_their_bins() -> None:
    model = randomised(3, backbone="bcresnet")
    plan = calibrated(model).with_scheme(SCHEMES["int8"])
    graph = equalise_by_plan(lower_step(model), plan)
    found = optimise(lower_step(model), plan)
    assert rows(found) == rows(graph)
    assert sum(isinstance(node, Fold) for node in found.nodes) == 1
