"""The front end inside an artefact: the same features, and the same decisions, as from the front end beside it."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from artefacts import FRONT_END, calibrated, checkpoint, crnn, planned, sound, write_file
from edge_asc.contract import InputKind
from edge_asc.engine import open_runtime
from edge_asc.errors import AudioError, ContractError, ExportError
from edge_asc.frontend import Array, FrontEnd, LogMel
from edge_asc.progress import SILENT
from edge_asc.streaming import StreamingClassifier, WindowedClassifier
from edge_asc_export import level_parity, parity
from edge_asc_export.bundle import ExportRequest, write_bundle
from edge_asc_export.format import default_formats
from edge_asc_export.front_end import attach_front_end
from edge_asc_export.graph import Graph, Port
from edge_asc_export.inspection import inspect
from edge_asc_export.lowering import lower_gru, lower_step, lower_window
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import SCHEMES
from edge_asc_export.simulation import Simulation

FORMS = [(fmt, scheme) for scheme in SCHEMES for fmt in default_formats(SCHEMES[scheme])]
CHECKPOINT = checkpoint()
PLAN = calibrated(crnn(CHECKPOINT))
SAMPLES = sound(3.0)


def write(folder: Path, fmt: str, scheme: str, kind: InputKind) -> Path:
    plan = PLAN.with_scheme(SCHEMES[scheme])
    return write_file(folder / f"{scheme}-{kind}.{fmt}", [lower_step(crnn(CHECKPOINT))], plan, kind=kind)


def logits(path: Path, samples: Array) -> Array:
    return np.stack([decision.logits for decision in StreamingClassifier.from_artefact(path).push(samples)])


def simulate(front_end: FrontEnd, samples: Array) -> Array:
    """Stream samples through the front end in export form, in float32; return features, (frames, mels)."""
    graph = Graph("step", 8, (Port("features", "features", "features"),), (), (), {"features": (front_end.mels, 8, 1)})
    attached = attach_front_end(graph, front_end, "samples")
    simulation, size, frames = Simulation(attached), 8 * front_end.hop, list[torch.Tensor]()

    def observe(name: str, value: torch.Tensor) -> None:
        if name == "features":
            frames.append(value[0, 0].T)

    state = simulation.initial(1)
    for begin in range(0, len(samples) - size + 1, size):
        chunk = torch.from_numpy(samples[None, None, begin : begin + size])
        outputs = simulation({"samples": chunk, **state}, observe)
        state = {"history": outputs["history_next"]}
    return torch.cat(frames).numpy()


@settings(max_examples=12)
@given(
    factors=st.lists(st.sampled_from([2, 3, 5]), min_size=2, max_size=6),
    hops=st.sampled_from([1, 2, 4]),
    mels=st.sampled_from([1, 7, 64]),
)
def test_any_front_end_has_the_same_features_in_export_form(factors: list[int], hops: int, mels: int) -> None:
    window = 16 * int(np.prod(factors))
    front_end = FrontEnd(window=window, hop=window // hops, mels=mels).with_normalisation([-7.0] * mels, [0.4] * mels)
    samples = sound(10 * front_end.window / 16000)
    expected = LogMel(front_end)(samples)
    found = simulate(front_end, samples)
    assert len(found) >= 8
    np.testing.assert_allclose(found, expected[: len(found)], atol=1e-4)


@pytest.mark.parametrize("level", [0.0, -30.0, -60.0])
def test_loud_and_quiet_tones_beside_silence_have_the_same_features(level: float) -> None:
    """A tone leaves bins far below it, where the rounding of single precision is all there is."""
    gain = np.float32(10 ** (level / 20))
    tone = np.sin(2 * np.pi * 1000 * np.arange(16384) / 16000).astype(np.float32)
    samples = gain * np.concatenate((tone, np.zeros(8192, np.float32)))
    expected = LogMel(FRONT_END)(samples)
    error = np.abs(simulate(FRONT_END, samples) - expected)
    assert error.mean() < 1e-5
    assert error.max() < 2e-3


@pytest.mark.parametrize(("window", "hop"), [(1022, 511), (2048, 500)])
def test_a_window_that_cannot_be_split_is_refused(window: int, hop: int) -> None:
    with pytest.raises(ExportError, match=r"the window has .* samples; expected a multiple of .* use --input features"):
        simulate(FrontEnd(window=window, hop=hop, mels=16), sound(1.0))


@pytest.mark.parametrize(("fmt", "scheme"), FORMS)
def test_an_artefact_that_takes_samples_decides_as_one_that_takes_features(
    fmt: str, scheme: str, tmp_path: Path
) -> None:
    features = write(tmp_path, fmt, scheme, "features")
    for kind in ("samples", "int16"):
        path = write(tmp_path, fmt, scheme, kind)
        for level in (0.0, -30.0, -60.0):
            samples = np.float32(10 ** (level / 20)) * SAMPLES
            if kind == "int16":
                samples = np.rint(samples * 32768).astype(np.float32) / np.float32(32768)
            expected, found = logits(features, samples), logits(path, samples)
            assert len(found) == len(SAMPLES) // 4096
            # An integer model may round a feature the other way.
            tolerance = 0.02 if SCHEMES[scheme].activations in ("int8", "dynamic") else 2e-4
            np.testing.assert_allclose(found, expected, atol=tolerance)


@pytest.mark.parametrize("fmt", ["onnx", "tflite"])
@given(cuts=st.lists(st.integers(0, 40000), max_size=8))
@settings(max_examples=10)
def test_any_chunking_gives_the_same_decisions(
    fmt: str, cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"chunked.{fmt}"
    if not path.exists():
        write_file(path, [lower_step(crnn(CHECKPOINT))], PLAN, kind="int16")
    classifier = StreamingClassifier.from_artefact(path)
    chunks = np.split(SAMPLES[:40000], sorted(cuts))
    found = [decision for chunk in chunks for decision in classifier.push(chunk)]
    np.testing.assert_array_equal([d.logits for d in found], logits(path, SAMPLES[:40000]))
    assert [round(d.time / 0.256) for d in found] == list(range(1, 10))
    classifier.reset()
    np.testing.assert_array_equal([d.logits for d in classifier.push(SAMPLES[:8192])], [d.logits for d in found[:2]])


@pytest.mark.parametrize("scheme", ["none", "fp16", "int8-dynamic", "int8"])
def test_the_step_with_its_front_end_is_one_partition_and_little_larger(scheme: str, tmp_path: Path) -> None:
    before, after = (write(tmp_path, "tflite", scheme, kind) for kind in ("features", "samples"))
    inspection = inspect(after)
    assert (inspection.partitions, inspection.outside) == (1, 0)
    assert after.stat().st_size - before.stat().st_size < 250_000


@pytest.mark.parametrize("fmt", ["onnx", "tflite"])
def test_the_front_end_of_an_integer_artefact_stays_float(fmt: str, tmp_path: Path) -> None:
    inspection = inspect(write(tmp_path, fmt, "int8", "samples"))
    assert set(inspection.float_operations["step"]) <= {
        *("Add", "Clip", "FusedMatMul", "Gemm", "Log", "MatMul", "Mul"),
        *("ADD", "FULLY_CONNECTED", "LOG", "MAXIMUM", "MINIMUM", "MUL"),
    }
    before = inspect(write(tmp_path, fmt, "int8", "features"))
    assert inspection.arithmetic["step"]["integer"] == before.arithmetic["step"]["integer"]


@pytest.mark.parametrize("kind", ["samples", "int16"])
@pytest.mark.parametrize("fmt", ["onnx", "tflite"])
def test_windows_of_samples_decide_as_windows_of_features(fmt: str, kind: InputKind, tmp_path: Path) -> None:
    from edge_asc_export.builder import attach_gru

    model, plain = crnn(checkpoint("windowed")), Plan(SCHEMES["none"])
    window, gru = lower_window(model, 1, 31), lower_gru(model)
    graphs: Sequence[Graph] = [attach_gru(window, gru)] if fmt == "onnx" else [window, gru]
    samples = np.rint(sound(2.0) * 32768).astype(np.float32) / np.float32(32768)
    found = []
    for each in ("features", kind):
        path = write_file(tmp_path / f"{each}.{fmt}", graphs, plain, form="windowed", kind=each)
        found.append([d.logits for d in WindowedClassifier.from_artefact(path, 1).push(samples)])
    assert len(found[0]) == 5
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)


def test_wrong_samples_are_refused_and_leave_the_stream_as_it_was(tmp_path: Path) -> None:
    path = write(tmp_path, "onnx", "int8", "int16")
    classifier = StreamingClassifier.from_artefact(path)
    found = classifier.push(SAMPLES[:5000])
    for wrong in (np.full(10, np.nan), np.full(10, 3e4), np.zeros((2, 5)), np.zeros(4, np.int16)):
        with pytest.raises(AudioError):
            classifier.push(wrong)
    for shape in ((4095,), (8, 256), (1, 4096)):
        with pytest.raises(ContractError, match=r"samples are .*; expected \(4096,\)"):
            classifier.push_input(np.zeros(shape, np.float32))
    for value in (np.nan, np.inf, 101.0):
        with pytest.raises(ContractError, match=r"expected samples in \[-1, 1\]"):
            classifier.push_input(np.full(4096, value))
    found += classifier.push(SAMPLES[5000:16384])
    np.testing.assert_array_equal([d.logits for d in found], logits(path, SAMPLES[:16384]))


@pytest.mark.parametrize("kind", ["samples", "int16"])
def test_an_export_measures_the_front_end_at_each_level(
    kind: InputKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "scenes", lambda: [sound(10.0)])
    planned().save(tmp_path / "model")
    request = ExportRequest(tmp_path / "model", SCHEMES["none"], ("onnx", "tflite"), input=kind)
    (tmp_path / "out").mkdir()
    manifest = write_bundle(request, tmp_path / "out", SILENT)
    ending = {"samples": "samples", "int16": "samples-int16"}[kind]
    names = {f"random-causal-float-{ending}-step.onnx", f"random-causal-float-{ending}.tflite"}
    assert set(manifest.files) == names == {path.name for path in (tmp_path / "out").iterdir()}
    for name, entry in manifest.files.items():
        contract = open_runtime(tmp_path / "out" / name).contract
        assert contract == entry.contract
        assert contract.input == kind
        assert [level.dbfs for level in contract.measured.levels] == [0.0, -30.0, -60.0]
        for level in contract.measured.levels:
            assert 0.0 < level.features_mean_error < 1e-5
            assert level.max_error < 1e-4
            assert level.steps == 78


def test_a_front_end_that_differs_is_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "scenes", lambda: [sound(10.0)])
    monkeypatch.setattr(level_parity, "MAX_ERROR", 1e-9)
    planned().save(tmp_path / "model")
    request = ExportRequest(tmp_path / "model", SCHEMES["int8"], ("tflite",), input="samples", accepted_agreement=0.1)
    with pytest.raises(
        ExportError, match=r"at 0 dBFS its features differ from the front end by .* nothing was written"
    ):
        write_bundle(request, tmp_path / "out", SILENT)


@pytest.mark.parametrize(("fmt", "module"), [("onnx", "onnxruntime"), ("tflite", "ai_edge_litert")])
def test_a_stream_of_samples_imports_numpy_and_its_engine_alone(fmt: str, module: str, tmp_path: Path) -> None:
    path = write(tmp_path, fmt, "int8", "int16")
    program = f"""
import sys
import numpy as np
before = {{name.partition(".")[0] for name in sys.modules}}
from edge_asc.streaming import StreamingClassifier
decisions = StreamingClassifier.from_artefact({str(path)!r}).push(np.zeros(8192, np.float32))
assert len(decisions) == 2
after = {{name.partition(".")[0] for name in sys.modules}} - before - set(sys.stdlib_module_names)
print(*sorted(name for name in after if not name.startswith("edge_asc")))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [module]
