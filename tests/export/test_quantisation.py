import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from artefacts import FRONT_END, checkpoint, clips
from edge_asc.contract import Affine
from edge_asc.errors import ExportError
from edge_asc_export.calibration import calibrate
from edge_asc_export.graph import Concat, MaxPool, Reshape, Slice
from edge_asc_export.lowering import expand_gru, lower_step
from edge_asc_export.quantisation import (
    SIGNED,
    UNIT,
    Calibration,
    grid,
    grids,
    quantise,
    quantise_weight,
)
from edge_asc_export.simulation import Simulation

finite = st.floats(-1e4, 1e4, allow_nan=False)


@pytest.fixture(scope="module")
def calibrated():
    model = checkpoint().model
    return model, calibrate(model, FRONT_END, clips(), source={"data": "noise"})


@given(finite, finite)
def test_a_grid_holds_zero_exactly_and_spans_its_range(a, b):
    low, high = min(a, b), max(a, b)
    found = grid(low, high)
    assert -128 <= found.zero_point <= 127
    bottom, top = ((end - found.zero_point) * found.scale for end in (-128, 127))
    assert bottom - found.scale <= min(low, 0.0)
    assert top + found.scale >= max(high, 0.0)
    assert quantise(0.0, found) == found.zero_point


@given(st.floats(-3, 3), st.floats(0.01, 5))
def test_a_value_within_the_range_is_rounded_by_at_most_half_a_step(value, reach):
    found = grid(-reach, reach)
    value = max(-reach, min(value, reach * 0.99))
    back = (int(quantise(value, found)) - found.zero_point) * found.scale
    assert abs(back - value) <= 0.51 * found.scale


def test_values_beyond_the_range_saturate():
    found = grid(-1, 1)
    assert quantise([-9.0, 9.0], found).tolist() == [-128, 127]


def test_a_large_bias_on_tiny_weights_still_fits_32_bits():
    weight = np.full((2, 3), 1e-9, np.float32)
    found = quantise_weight(weight, np.array([50.0, 0.0], np.float32), 0, Affine(0.01, 0))
    steps = found.bias_scales(Affine(0.01, 0))
    assert found.bias[0] * float(steps[0]) == pytest.approx(50.0, rel=1e-6)


def test_tensors_that_share_integers_share_a_grid(calibrated):
    model, calibration = calibrated
    graph = expand_gru(calibration.equalised(lower_step(model)))
    found = grids(graph, calibration.ranges, 4.0)
    assert set(found) == set(graph.shapes)
    for node in graph.nodes:
        if isinstance(node, Concat | Slice | MaxPool | Reshape):
            assert {found[name] for name in node.inputs} == {found[node.output]}
    for source, target in graph.states():
        assert found[source.tensor] == found[target.tensor]
    assert found["hidden_0"] == SIGNED
    assert found["gru_0_gates"] == UNIT
    assert found["features"] == grid(-4.0, 4.0)


def test_equalisation_brings_channels_to_one_magnitude(calibrated):
    model, calibration = calibrated
    graph = calibration.equalised(lower_step(model))
    name, largest = "body_1_expand", {}

    def observe(tensor, value):
        if tensor == name:
            previous = largest.get(name, torch.zeros(value.shape[1]))
            largest[name] = torch.maximum(previous, value.abs().amax(dim=(0, 2, 3)))

    from edge_asc_export.calibration import _batches

    for batch in _batches(FRONT_END, clips()):
        Simulation(graph).stream(batch, observe)
    torch.testing.assert_close(largest[name], largest[name].max().expand_as(largest[name]), rtol=1e-3, atol=1e-3)


def test_the_integer_simulation_stays_near_the_float_one(calibrated):
    model, calibration = calibrated
    graph = calibration.equalised(lower_step(model))
    from edge_asc_export.calibration import _batches

    batch = _batches(FRONT_END, clips())[0]
    real = Simulation(graph).stream(batch)
    scales = grids(expand_gru(graph), calibration.ranges, 4.0)
    rounded = Simulation(graph, dtype=torch.float64, grids=scales).stream(batch)
    error = (real - rounded).abs().max()
    assert 0 < error < 0.05


def test_a_calibration_survives_json(calibrated):
    calibration = calibrated[1]
    import json

    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration


@pytest.mark.parametrize(
    ("value", "message"),
    [({}, "holds no activation ranges"), ({"schema_version": 99, "ranges": {}}, "schema version 99")],
)
def test_missing_or_foreign_ranges_are_refused(value, message):
    with pytest.raises(ExportError, match=message):
        Calibration.from_json(value)


def test_ranges_of_another_model_are_refused(calibrated):
    model, calibration = calibrated
    ranges = {k: v for k, v in calibration.ranges.items() if not k.startswith("body_4")}
    with pytest.raises(ExportError, match="belong to another model"):
        grids(expand_gru(lower_step(model)), ranges, 4.0)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([], "none of 0 clips"),
        ([np.zeros((4, 256), np.float32)], "lasts a step of 8"),
        ([np.full((16, 256), np.nan, np.float32)], "NaN"),
        ([np.full((16, 256), np.log(1e-8), np.float32)], "silent"),
    ],
)
def test_clips_that_would_give_false_ranges_are_refused(features, message):
    with pytest.raises(ExportError, match=message):
        calibrate(checkpoint().model, FRONT_END, features)
