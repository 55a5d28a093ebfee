"""Every backbone in every scheme and both formats, run in its own engine against PyTorch."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from artefacts import BACKBONES, FRONT_END, calibrated, clips, contract, lowered_file, randomised, write_file
from edge_asc.contract import AnyArray
from edge_asc.engine import open_runtime
from edge_asc.errors import ExportError
from edge_asc.evaluation.logits import stream_logits
from edge_asc.frontend import Array, LogMel
from edge_asc.models.crnn import CRNN
from edge_asc_export.format import FORMATS, check_support, default_formats
from edge_asc_export.inspection import inspect
from edge_asc_export.lowering import lower_gru, lower_step, lower_window
from edge_asc_export.passes.equalise import equalise_by_plan
from edge_asc_export.pipeline import Lowered, run_passes
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import SCHEMES, Scheme
from edge_asc_export.simulation import Simulation

# Largest logit error over 25 steps; the logits themselves vary by about 0.1.
TOLERANCE = {"none": 1e-5, "fp16": 2e-3, "int8-dynamic": 3e-2}

# The output layer in integers as well.
WHOLE = Scheme("whole", "int8", "int8")


@dataclass(frozen=True)
class Case:
    model: CRNN
    plan: Plan
    audio: list[Array]
    x: torch.Tensor
    expected: np.ndarray

    @property
    def scaled(self) -> list[str]:
        """What scales features in float before they are rounded, in ONNX: of a ResNet only."""
        return ["Mul"] if lower_step(self.model).constants else []

    def written(self, fmt: str, scheme: str | Scheme, folder: Path) -> Path:
        plan = self.plan.with_scheme(SCHEMES[scheme] if isinstance(scheme, str) else scheme)
        return write_file(folder / f"step.{fmt}", [lower_step(self.model)], plan)

    def simulated(self, scheme: str | Scheme) -> AnyArray:
        plan = self.plan.with_scheme(SCHEMES[scheme] if isinstance(scheme, str) else scheme)
        simulation = Simulation(equalise_by_plan(lower_step(self.model), plan), dtype=torch.float64, plan=plan)
        return simulation.stream(self.x)[0].numpy()

    def streamed(self, fmt: str, scheme: str | Scheme, folder: Path) -> AnyArray:
        return stream_logits(open_runtime(self.written(fmt, scheme, folder)), self.audio)[0]


@pytest.fixture(scope="module", params=BACKBONES)
def case(request: pytest.FixtureRequest) -> Case:
    model = randomised(backbone=request.param)
    audio = [np.concatenate(clips(9, seed=5))[:200]]
    x = torch.from_numpy(LogMel(FRONT_END).normalise(audio[0].copy()).T[None, None].copy())
    with torch.inference_mode():
        expected = model(x).logits[0].numpy()
    return Case(model, calibrated(model), audio, x, expected)


@pytest.mark.parametrize(
    ("fmt", "scheme"), [(fmt, name) for name, scheme in SCHEMES.items() for fmt in default_formats(scheme)]
)
def test_an_artefact_streams_to_pytorchs_logits(case: Case, fmt: str, scheme: str, tmp_path: Path) -> None:
    found = case.streamed(fmt, scheme, tmp_path)
    assert found.shape == case.expected.shape == (25, 10)
    assert case.expected.std(axis=0).max() > 1e-3
    error = np.abs(found - case.expected).max()
    if SCHEMES[scheme].static:
        # The cost of rounding, in exact arithmetic; an engine adds its own rounding to that.
        assert error <= 1.5 * np.abs(case.simulated(scheme) - case.expected).max()
    else:
        assert error <= TOLERANCE[scheme]
    if scheme != "none":
        assert error > 0


def test_wider_activations_and_float_layers_come_nearer(case: Case) -> None:
    errors = {
        name: np.abs(case.simulated(name) - case.expected).mean() for name in ("int8", "int8-float-gru", "int16x8")
    }
    assert errors["int16x8"] < 0.5 * errors["int8"]
    assert errors["int8-float-gru"] != errors["int8"]


def test_onnx_refuses_16_bit_activations() -> None:
    with pytest.raises(ExportError, match=r"onnx cannot express int16x8 .int8 weights, int16 act.*--format tflite"):
        check_support("onnx", SCHEMES["int16x8"])


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if name != "int16x8"])
def test_the_tflite_step_is_one_partition_without_a_transpose(case: Case, scheme: str, tmp_path: Path) -> None:
    found = inspect(case.written("tflite", scheme, tmp_path))
    assert (found.partitions, found.outside) == (1, 0)
    assert "TRANSPOSE" not in found.operations["step"]
    if scheme == "int8":
        assert found.arithmetic["step"]["integer"] > 0
        scaling = ("ADD", "MUL") if case.scaled else ()
        assert found.float_operations["step"] == sorted(("FULLY_CONNECTED", *scaling))
    if scheme == "int8-float-gru":
        assert {"FULLY_CONNECTED", "LOGISTIC", "TANH"} <= set(found.float_operations["step"])
        assert "CONV_2D" not in found.float_operations["step"]


def test_the_onnx_step_has_means_as_convolutions_and_no_transpose(case: Case, tmp_path: Path) -> None:
    operations = inspect(case.written("onnx", "none", tmp_path)).operations["step"]
    assert not {"Transpose", "ReduceMean", "AveragePool", "Identity"} & set(operations)
    operations = inspect(case.written("onnx", "int8", tmp_path)).operations["step"]
    assert not {"ReduceMean", "AveragePool", "Identity"} & set(operations)
    assert operations["Transpose"] > 10
    assert optimised(tmp_path / "step.onnx").count("Transpose") <= 1
    scaling = ("Add", "Mul") if case.scaled else ()
    assert inspect(tmp_path / "step.onnx").float_operations["step"] == sorted(("Gemm", *scaling))
    mixed = inspect(case.written("onnx", "int8-float-gru", tmp_path))
    assert mixed.float_operations["step"] == [*(["Add"] if case.scaled else []), "GRU", "Gemm", *case.scaled]


def optimised(path: Path) -> Any:
    """The operations that onnxruntime runs."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(path.with_suffix(".optimised")), 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]


@pytest.mark.parametrize("fmt", ["onnx", "tflite"])
@pytest.mark.parametrize("scheme", [SCHEMES["int8"], WHOLE], ids=lambda scheme: scheme.name)
def test_an_int8_artefact_is_its_simulation(case: Case, scheme: Scheme, fmt: str, tmp_path: Path) -> None:
    """Engines round sums and products of their own; a result may differ by some smallest steps of integer logits."""
    found = case.streamed(fmt, scheme, tmp_path)
    steps = np.abs(found - case.simulated(scheme)) / case.plan.with_scheme(WHOLE).qparams["logits"].scale
    assert steps.max() <= 8
    assert np.median(steps) <= 1
    if scheme == WHOLE:
        assert inspect(tmp_path / f"step.{fmt}").arithmetic["step"]["float"] == 2 * bool(case.scaled)


@pytest.mark.parametrize("scheme", [SCHEMES["int8"], WHOLE], ids=lambda scheme: scheme.name)
def test_the_simulation_has_the_integers_of_litert(case: Case, scheme: Scheme, tmp_path: Path) -> None:
    """In double precision, of the graph that the format writes; a float output layer adds in an order of its own."""
    plan = case.plan.with_scheme(scheme)
    lowered = run_passes(Lowered.of(lower_step(case.model), plan), FORMATS.load("tflite").passes)
    simulation = Simulation(lowered.graph, dtype=torch.float64, plan=plan, qparams=lowered.qparams)
    found = case.streamed("tflite", scheme, tmp_path)
    np.testing.assert_allclose(found, simulation.stream(case.x)[0].numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("fmt", "scheme", "dtype"), [("onnx", "int8", "uint8"), ("tflite", "int8", "int8"), ("tflite", "int16x8", "int16")]
)
def test_integer_states_are_fed_back_raw(case: Case, fmt: str, scheme: str, dtype: str, tmp_path: Path) -> None:
    runtime = open_runtime(case.written(fmt, scheme, tmp_path))
    caches = [s for s in runtime.contract.signature("step").states() if s.name.startswith("cache_")]
    assert caches
    assert {spec.dtype for spec in caches} == {dtype}


def test_any_layer_can_stay_float(case: Case, tmp_path: Path) -> None:
    scheme = Scheme("stem-float", "int8", "int8", ("stem_0", "gru_0"))
    plan = case.plan.with_scheme(scheme)
    graph = lower_step(case.model)
    assert not {"stem_0", "gru_0", "hidden_0"} & set(plan.qparams)
    assert "gru_1" in plan.qparams
    simulated = Simulation(equalise_by_plan(graph, plan), dtype=torch.float64, plan=plan).stream(case.x)[0].numpy()
    files = [write_file(tmp_path / f"step.{suffix}", [graph], plan) for suffix in ("tflite", "onnx")]
    for file in files:
        steps = np.abs(stream_logits(open_runtime(file), case.audio)[0] - simulated) / plan.qparams["logits"].scale
        assert steps.max() <= 8
        assert np.median(steps) <= 1
    assert "CONV_2D" in inspect(files[0]).float_operations["step"]


def test_signatures_of_one_file_share_their_weights() -> None:
    model = randomised(form="windowed")
    sizes = []
    for lengths in ((1,), (1, 2, 3)):
        graphs = [lower_window(model, s, 16000 * s // 512) for s in lengths]
        written = lowered_file("tflite", [*graphs, lower_gru(model)], Plan(SCHEMES["none"]))
        sizes.append(len(written.finish(contract(written.signatures(512), "windowed"))))
    assert sizes[1] - sizes[0] < 60_000 < 500_000 < sizes[0]


@pytest.mark.parametrize("fmt", FORMATS.names())
def test_a_contract_goes_into_a_written_file_twice(case: Case, fmt: str) -> None:
    """A file takes one contract after another, and its own bytes stay as they are."""
    written = lowered_file(fmt, [lower_step(case.model)], case.plan)
    plain = contract(written.signatures(512))
    first, other, again = (written.finish(each) for each in (plain, replace(plain, name="other"), plain))
    assert first == again
    assert first != other
