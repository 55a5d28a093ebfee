"""Every backbone in every scheme and both formats, run in its own engine against PyTorch."""

import numpy as np
import pytest
import torch

from artefacts import BACKBONES, FRONT_END, clips, contract, randomised
from edge_asc.evaluation.logits import stream_logits
from edge_asc.frontend import LogMel
from edge_asc.runtimes import open_runtime
from edge_asc_export.calibration import calibrate
from edge_asc_export.inspection import inspect
from edge_asc_export.lowering import expand_gru, lower_step
from edge_asc_export.onnx import OnnxWriter
from edge_asc_export.quantisation import SCHEMES, grids
from edge_asc_export.simulation import Simulation
from edge_asc_export.tflite import TFLiteWriter

# Largest logit error over 25 steps; the logits themselves vary by about 0.1.
TOLERANCE = {"none": 1e-5, "fp16": 2e-3, "int8-dynamic": 3e-2}


@pytest.fixture(scope="module", params=BACKBONES)
def case(request):
    model = randomised(backbone=request.param)
    calibration = calibrate(model, FRONT_END, clips())
    graph = lower_step(model)
    equalised = calibration.equalised(graph)
    scales = grids(expand_gru(equalised), calibration.ranges, 4.0)
    audio = [np.concatenate(clips(9, seed=5))[:200]]
    x = torch.from_numpy(LogMel(FRONT_END).normalise(audio[0].copy()).T[None, None].copy())
    with torch.inference_mode():
        expected = model(x).logits[0].numpy()
    return request.param, graph, equalised, scales, audio, x, expected


def written(fmt, scheme, graph, equalised, scales, path):
    graph, scales = (equalised, scales) if scheme == "int8" else (graph, None)
    if fmt == "onnx":
        onnx = OnnxWriter(graph, scheme, scales)
        data = onnx.write(contract([onnx.signature(512)], scheme=scheme))
    else:
        writer = TFLiteWriter(scheme, scales)
        writer.add(graph)
        data = writer.finish(contract([writer.signature(graph, 512)], scheme=scheme))
    path = path / f"step.{fmt}"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("fmt", ["onnx", "tflite"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_artefact_streams_to_pytorchs_logits(case, fmt, scheme, tmp_path):
    _, graph, equalised, scales, audio, x, expected = case
    path = written(fmt, scheme, graph, equalised, scales, tmp_path)
    found = stream_logits(open_runtime(path), audio)[0]
    assert found.shape == expected.shape == (25, 10)
    assert expected.std(axis=0).max() > 1e-3
    error = np.abs(found - expected).max()
    if scheme == "int8":
        # What rounding to the grids costs, seen in exact arithmetic; an engine adds its own rounding to that.
        simulated = Simulation(equalised, dtype=torch.float64, grids=scales).stream(x)[0].numpy()
        assert error <= 1.5 * np.abs(simulated - expected).max()
    else:
        assert error <= TOLERANCE[scheme]
    if scheme != "none":
        assert error > 0


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_tflite_step_is_one_partition_without_a_transpose(case, scheme, tmp_path):
    _, graph, equalised, scales, *_ = case
    found = inspect(written("tflite", scheme, graph, equalised, scales, tmp_path))
    assert (found.partitions, found.outside) == (1, 0)
    assert "TRANSPOSE" not in found.operations["step"]
    if scheme == "int8":
        assert found.arithmetic["step"]["integer"] > 0
        assert found.float_operations["step"] == []


def test_the_onnx_step_has_means_as_convolutions_and_no_transpose(case, tmp_path):
    _, graph, equalised, scales, *_ = case
    for scheme in ("none", "int8"):
        operations = inspect(written("onnx", scheme, graph, equalised, scales, tmp_path)).operations["step"]
        assert not {"Transpose", "ReduceMean", "AveragePool", "Identity"} & set(operations)
    assert inspect(tmp_path / "step.onnx").float_operations["step"] == ["GRU", "Gemm"]


def test_int8_tflite_is_its_simulation(case, tmp_path):
    """XNNPACK rounds sums and products of its own; a step of a grid here and there is all that may differ."""
    _, graph, equalised, scales, audio, x, _ = case
    found = stream_logits(open_runtime(written("tflite", "int8", graph, equalised, scales, tmp_path)), audio)[0]
    simulated = Simulation(equalised, dtype=torch.float64, grids=scales).stream(x)[0].numpy()
    steps = np.abs(found - simulated) / scales["logits"].scale
    assert steps.max() <= 8
    assert np.median(steps) <= 1


def test_integer_states_are_fed_back_raw(case, tmp_path):
    _, graph, equalised, scales, *_ = case
    for fmt, dtype in (("onnx", "uint8"), ("tflite", "int8")):
        runtime = open_runtime(written(fmt, "int8", graph, equalised, scales, tmp_path))
        caches = [s for s in runtime.contract.signature("step").states() if s.name.startswith("cache_")]
        assert caches
        assert {spec.dtype for spec in caches} == {dtype}


def test_signatures_of_one_file_share_their_weights():
    model = randomised(form="windowed")
    from edge_asc_export.lowering import lower_gru, lower_window

    sizes = []
    for lengths in ((1,), (1, 2, 3)):
        writer = TFLiteWriter("none")
        graphs = [lower_window(model, s, 16000 * s // 512, recurrent=False) for s in lengths]
        graphs.append(lower_gru(model))
        for graph in graphs:
            writer.add(graph)
        signatures = [writer.signature(graph, 512) for graph in graphs]
        sizes.append(len(writer.finish(contract(signatures, "windowed"))))
    assert sizes[1] - sizes[0] < 60_000 < 500_000 < sizes[0]
