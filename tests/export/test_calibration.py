from typing import Any

import numpy as np
import pytest
import torch

from artefacts import BACKBONES, FRONT_END, checkpoint, clips, crnn, randomised
from edge_asc.errors import ExportError
from edge_asc.frontend import Array
from edge_asc_export.calibration import Source, calibrate
from edge_asc_export.lowering import lower_step
from edge_asc_export.passes.equalise import equalise, equalise_by_plan, groups
from edge_asc_export.passes.expand_gru import expand_gru
from edge_asc_export.plan import digest
from edge_asc_export.ranges import METHODS
from edge_asc_export.simulation import Simulation


def features(frames: int = 24) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal(0, 1.5, (2, 1, 256, frames)).astype(np.float32).clip(-4, 4))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_equalisation_is_exact_in_real_numbers(backbone: str) -> None:
    graph, x = lower_step(randomised(backbone=backbone)), features()
    rng = np.random.default_rng(1)
    scales: dict[str, tuple[float, ...]] = {}
    for group in groups(graph):
        factors = tuple(np.exp(rng.normal(0, 1, group.channels)))
        scales |= dict.fromkeys(group.tensors, factors)
    plain, scaled = Simulation(graph, dtype=torch.float64), Simulation(equalise(graph, scales), dtype=torch.float64)
    seen: dict[str, torch.Tensor] = {}
    torch.testing.assert_close(scaled.stream(x, seen.__setitem__), plain.stream(x), rtol=0, atol=1e-5)
    for group in groups(graph):
        before: dict[str, torch.Tensor] = {}
        plain.stream(x, before.__setitem__)
        for tensor in set(group.tensors) & set(before):
            shape = (1, -1, 1, 1) if before[tensor].ndim == 4 else (1, 1, -1)
            factor = torch.tensor(scales[tensor]).view(shape)
            torch.testing.assert_close(seen[tensor], before[tensor] * factor, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("backbone", "count"), [("fuse", 24), ("bcresnet", 29), ("resnet", 16)])
def test_residual_paths_and_their_caches_are_scaled_as_one(backbone: str, count: int) -> None:
    graph = lower_step(randomised(backbone=backbone))
    found = groups(graph)
    assert len(found) == count
    together = [{name.split("_")[0] for name in group.tensors if name.startswith("cache")} for group in found]
    assert any(together)
    assert not any({"features", "logits", "hidden_0"} & set(group.tensors) for group in found)


@pytest.mark.parametrize(
    "scales",
    [{"logits": [1.0] * 10}, {"no_such_tensor": [1.0]}, {"body_1_time": [1.0] * 47}, {"body_1_time": [-1.0] * 48}],
)
def test_what_cannot_be_scaled_is_refused(scales: dict[str, Any]) -> None:
    with pytest.raises(ExportError, match="belongs to another model"):
        equalise(lower_step(randomised()), scales)


def test_half_a_group_is_not_scaled() -> None:
    graph = lower_step(randomised())
    group = next(group for group in groups(graph) if len(group.tensors) > 1)
    with pytest.raises(ExportError, match="cannot be equalised"):
        equalise(graph, {group.tensors[0]: [2.0] * group.channels})


@pytest.mark.parametrize("form", ["causal", "windowed"])
def test_the_method_nearest_to_float_is_kept_and_recorded(form: str) -> None:
    model = crnn(checkpoint(form))
    plan = calibrate(model, FRONT_END, clips(4, 40), source=Source("noise", classes=1))
    assert plan.provenance is not None
    divergences = dict(plan.provenance.kl)
    assert set(divergences) == set(METHODS)
    assert plan.provenance.method == min(divergences, key=divergences.__getitem__)
    assert all(0 < divergence < 1e-3 for divergence in divergences.values())
    assert plan.model == digest(model)
    assert plan.provenance.warnings == (
        "all calibration clips have one label: ranges of other sounds may be clipped",
        "4 calibration clips are few: ranges of other sounds may be clipped",
    )
    method: Any = plan.provenance.method
    alone = calibrate(model, FRONT_END, clips(4, 40), method=method)
    assert alone.ranges == plan.ranges


def test_narrower_methods_lie_within_all_values() -> None:
    model = crnn(checkpoint())
    plans = {method: calibrate(model, FRONT_END, clips(), method=method) for method in METHODS}
    for method in set(METHODS) - {"minmax"}:
        narrower = 0
        for mine, whole in zip(plans[method].ranges, plans["minmax"].ranges, strict=True):
            assert mine.tensors == whole.tensors
            assert whole.low <= mine.low <= 0 <= mine.high <= whole.high
            assert not (mine.fixed and mine != whole)
            narrower += mine.high < whole.high or mine.low > whole.low
        assert narrower


def test_a_plan_covers_the_expanded_graph_and_nothing_saturates_under_minmax() -> None:
    model = crnn(checkpoint())
    plan = calibrate(model, FRONT_END, clips(), method="minmax")
    graph = equalise_by_plan(lower_step(model), plan)
    plan.check(expand_gru(graph), digest(model))
    from edge_asc_export.calibration import _batches

    outside = []

    def observe(name: str, value: torch.Tensor) -> None:
        shared = next(r for r in plan.ranges if name in r.tensors)
        slack = 1e-3 + 1.1 / 128 * shared.fixed
        if float(value.min()) < shared.low - slack or float(value.max()) > shared.high + slack:
            outside.append(name)

    for batch in _batches(FRONT_END, clips()):
        Simulation(graph).stream(batch, observe)
    assert not outside


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        ([], "none of 0 clips"),
        ([np.zeros((4, 256), np.float32)], "lasts a step of 8"),
        ([np.full((16, 256), np.nan, np.float32)], "NaN"),
        ([np.full((16, 256), np.log(1e-8), np.float32)], "silent"),
    ],
)
def test_clips_that_would_give_false_ranges_are_refused(clips: list[Array], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        calibrate(crnn(checkpoint()), FRONT_END, clips)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ExportError, match="expected auto, minmax, percentile, mse, fisher"):
        calibrate(crnn(checkpoint()), FRONT_END, clips(), method="entropy")  # type: ignore[arg-type]  # wrong on purpose


def test_silent_clips_among_others_are_noted() -> None:
    silent = np.full((24, 256), np.log(1e-8), np.float32)
    plan = calibrate(crnn(checkpoint()), FRONT_END, [*clips(20), silent], method="minmax")
    assert plan.provenance is not None
    assert plan.provenance.warnings == ("1 of 21 calibration clips are silent",)
