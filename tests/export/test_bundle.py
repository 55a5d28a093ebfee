import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from artefacts import checkpoint, planned
from edge_asc.children import ChildError, run_in_child
from edge_asc.engine import open_runtime
from edge_asc.errors import ContractError, EdgeAscError, ExportError
from edge_asc.files import sha256
from edge_asc.progress import Progress
from edge_asc_export import bundle, parity
from edge_asc_export.bundle import ExportRequest, export
from edge_asc_export.parity import Parity
from edge_asc_export.plan import Plan
from edge_asc_export.recording import record_plan
from edge_asc_export.scheme import SCHEMES

QUICK = Parity("noise", 60, 1.0, 1e-6, 1e-7, {"1": 1.0}, 1e-6, 1e-6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A causal checkpoint with ranges."""
    path = tmp_path_factory.mktemp("checkpoints") / "causal"
    planned().save(path)
    return path


class Titles(Progress):
    """Keeps the titles of phases."""

    def __init__(self, titles):
        self.titles = titles

    def phase(self, title, total=None):
        self.titles.append(title)
        return super().phase(title, total)


def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def leave(*_):
    os._exit(3)


def fail(*_):
    raise ExportError("as expected")


def stumble(*_):
    raise ZeroDivisionError("unforeseen")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (kill, "ended by SIGKILL .out of memory"),
        (leave, "exit code 3"),
        (fail, "^as expected$"),
        (stumble, "(?s)unexpectedly.*ZeroDivisionError"),
    ],
)
def test_the_end_of_a_child_is_an_error_with_a_name(function, message):
    with pytest.raises(EdgeAscError, match=message) as raised:
        run_in_child(function, name="export")
    assert isinstance(raised.value, ExportError if function is fail else ChildError)


def test_an_export_is_proven_and_listed(folder, tmp_path):
    output = tmp_path / "out"
    seen = []
    manifest = export(ExportRequest(folder, SCHEMES["int8"], ("onnx", "tflite")), output, progress=Titles(seen))
    names = {"random-causal-int8-step.onnx", "random-causal-int8.tflite"}
    assert set(manifest.files) == names
    assert {p.name for p in output.iterdir()} == names | {"manifest.json"}
    assert not [p for p in tmp_path.iterdir() if p != output]
    assert len(seen) == 2
    for name, entry in manifest.files.items():
        assert sha256(output / name) == entry.sha256
        contract = open_runtime(output / name).contract
        assert contract == entry.contract
        found = contract.measured["parity"]
        assert found["steps"] >= 60
        assert found["agreement"] > 0.8
        assert contract.provenance["calibration"]["clips"] == 3
    assert open_runtime(output).engine.startswith("litert")
    damaged = bytearray((output / "random-causal-int8.tflite").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (output / "random-causal-int8.tflite").write_bytes(damaged)
    with pytest.raises(ContractError, match="SHA-256"):
        open_runtime(output)


def in_process(function, *arguments, name, progress):
    return function(*arguments, progress)


def test_a_failed_parity_leaves_the_old_files(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "run_in_child", in_process)
    monkeypatch.setattr(parity, "measure", lambda *_: QUICK)
    output = tmp_path / "out"
    export(ExportRequest(folder, SCHEMES["none"], ("onnx", "tflite")), output)
    before = {p.name: p.read_bytes() for p in output.iterdir()}
    monkeypatch.setattr(parity, "measure", lambda *_: replace(QUICK, max_error=2e-4))
    with pytest.raises(ExportError, match=r"differ from PyTorch by 0\.0002"):
        export(ExportRequest(folder, SCHEMES["none"], ("onnx",)), output)
    assert {p.name: p.read_bytes() for p in output.iterdir()} == before
    monkeypatch.setattr(parity, "measure", lambda *_: replace(QUICK, max_error=float("nan")))
    with pytest.raises(ExportError, match="differ from PyTorch"):
        export(ExportRequest(folder, SCHEMES["none"], ("tflite",)), output)
    assert {p.name: p.read_bytes() for p in output.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_second_export_takes_the_place_of_the_first(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "run_in_child", in_process)
    monkeypatch.setattr(parity, "measure", lambda *_: QUICK)
    output = tmp_path / "out"
    export(ExportRequest(folder, SCHEMES["none"], ("onnx", "tflite")), output)
    (output / "mine.txt").write_text("kept")
    export(ExportRequest(folder, SCHEMES["fp16"], ("tflite",)), output)
    assert {p.name for p in output.iterdir()} == {"random-causal-fp16.tflite", "manifest.json", "mine.txt"}


def test_an_export_is_the_same_to_the_byte_each_time(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "run_in_child", in_process)
    monkeypatch.setattr(parity, "measure", lambda *_: QUICK)
    manifests = [export(ExportRequest(folder, SCHEMES["int8"], ("onnx", "tflite")), tmp_path / name) for name in "ab"]
    assert json.dumps(manifests[0].to_json()) == json.dumps(manifests[1].to_json())


def test_windows_of_a_windowed_model(tmp_path, monkeypatch):
    found = checkpoint("windowed")
    path = tmp_path / "checkpoint"
    found.save(path)
    monkeypatch.setattr(parity, "WINDOWED_SECONDS", 3)
    monkeypatch.setattr(bundle, "run_in_child", in_process)
    manifest = export(ExportRequest(path, SCHEMES["none"], ("onnx", "tflite"), (1, 2)), tmp_path / "out")
    assert set(manifest.files) == {
        "random-windowed-float-window_1s.onnx",
        "random-windowed-float-window_2s.onnx",
        "random-windowed-float.tflite",
    }
    for entry in manifest.files.values():
        assert entry.contract.measured["parity"]["max_error"] < 1e-4
    signatures = manifest.files["random-windowed-float.tflite"].contract.signatures
    assert [s.name for s in signatures] == ["window_1s", "window_2s", "gru"]


@pytest.mark.parametrize(
    ("form", "head", "windows", "scheme", "message"),
    [
        ("causal", "gru", (1,), "none", "has no --window"),
        ("windowed", "gru", (), "none", "name at least one length"),
        ("causal", "gap", (), "none", "only a CRNN streams"),
        ("causal", "gru", (), "int8", "needs activation ranges, and the checkpoint holds none"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_anything_is_written(form, head, windows, scheme, message, tmp_path):
    path = tmp_path / "checkpoint"
    checkpoint(form, head).save(path)
    with pytest.raises(ExportError, match=message):
        export(ExportRequest(path, SCHEMES[scheme], ("onnx",), windows), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_ranges_can_be_recorded_on_a_data_set(folder, tmp_path, monkeypatch):
    from edge_asc.data.generated import write_scenes

    monkeypatch.setenv("EDGE_ASC_CACHE", str(tmp_path / "cache"))
    write_scenes(tmp_path / "data", 2, 0, seconds=1.0, progress=False)
    recorded = record_plan(folder, tmp_path / "data", method="mse")
    assert recorded.provenance.clips == 20
    assert recorded.provenance.method == "mse"
    assert recorded.provenance.classes == 10
    plan = ExportRequest(folder, SCHEMES["int8"], ("onnx",), (), recorded).draft().plan
    own = ExportRequest(folder, SCHEMES["int8"], ("onnx",)).draft().plan
    assert plan.qparams != own.qparams
    assert np.isfinite([each.scale for each in plan.qparams.values()]).all()


def test_the_manifest_holds_the_plan(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "run_in_child", in_process)
    monkeypatch.setattr(parity, "measure", lambda *_: QUICK)
    manifest = export(ExportRequest(folder, SCHEMES["int8-float-gru"], ("tflite",)), tmp_path / "out")
    plan = Plan.from_json(manifest.plan)
    assert plan.scheme == SCHEMES["int8-float-gru"]
    assert plan.qparams.keys() < ExportRequest(folder, SCHEMES["int8"], ("tflite",)).draft().plan.qparams.keys()


def test_a_format_that_cannot_express_the_scheme_is_refused(folder, tmp_path):
    with pytest.raises(ExportError, match=r"onnx cannot express int16x8.*expected --format tflite"):
        export(ExportRequest(folder, SCHEMES["int16x8"], ("tflite", "onnx")), tmp_path / "out")
    assert not (tmp_path / "out").exists()
