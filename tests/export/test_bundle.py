import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artefacts import checkpoint, planned
from edge_asc.cli import main
from edge_asc.closeness import CLEAR_MARGIN, Closeness, MarginRange
from edge_asc.engine import open_runtime
from edge_asc.errors import ContractError, ExportError
from edge_asc.files import sha256
from edge_asc.progress import Progress
from edge_asc.provenance import Parity
from edge_asc.unknown import UnknownRule
from edge_asc_export import bundle, parity
from edge_asc_export.artefact import Draft, write
from edge_asc_export.bundle import ExportRequest, export
from edge_asc_export.plan import Plan
from edge_asc_export.recording import record_plan
from edge_asc_export.scheme import SCHEMES

QUICK = Parity("noise", 60, 1.0, 1e-6, 1e-7, {"1": 1.0}, 1e-6, 1e-6, 60.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal checkpoint with ranges."""
    path = tmp_path_factory.mktemp("checkpoints") / "causal"
    planned().save(path)
    return path


class Titles(Progress):
    """Keeps the titles of phases."""

    def __init__(self, titles: list[str]) -> None:
        self.titles = titles

    def phase(self, title: str, total: float | None = None) -> Any:
        self.titles.append(title)
        return super().phase(title, total)


def kill(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_writer_that_is_killed_leaves_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "write_bundle", kill)
    with pytest.raises(ExportError, match=r"(?s)ended by SIGKILL \(out of memory\?\).*nothing was written"):
        export(ExportRequest(folder, SCHEMES["none"], ("onnx",)), tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scheme", ["none", "int8"])
def test_artefacts_keep_the_temperature_and_the_rule_for_unknown_sounds(tmp_path: Path, scheme: str) -> None:
    unknown = UnknownRule("j", 0.125, 0.05, "9 clips")
    calibrated = replace(planned(), temperature=1.75, unknown=unknown)
    for name in ("onnx", "tflite"):
        plan = Plan.from_json(calibrated.quantisation).with_scheme(SCHEMES[scheme])
        (artefact,) = write(Draft(calibrated, "", plan), name)
        (tmp_path / artefact.name).write_bytes(artefact.data)
        contract = open_runtime(tmp_path / artefact.name).contract
        assert (contract.temperature, contract.unknown) == (1.75, unknown)


def test_an_export_is_proven_and_listed(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    seen: list[str] = []
    request = ExportRequest(folder, SCHEMES["int8"], ("onnx", "tflite"), accepted_agreement=0.8)
    manifest = export(request, output, progress=Titles(seen))
    names = {"random-causal-int8-step.onnx", "random-causal-int8.tflite"}
    assert set(manifest.files) == names
    assert {p.name for p in output.iterdir()} == names | {"manifest.json"}
    assert not [p for p in tmp_path.iterdir() if p != output]
    assert len(seen) == 2
    for name, entry in manifest.files.items():
        assert sha256(output / name) == entry.sha256
        contract = open_runtime(output / name).contract
        assert contract == entry.contract
        found = contract.measured.parity
        assert found is not None
        assert found.steps >= 60
        assert found.agreement > 0.8
        assert found.sqnr is not None
        assert contract.measured.accepted_agreement == 0.8
        assert contract.provenance.calibration is not None
        assert contract.provenance.calibration.clips == 3
    assert open_runtime(output).engine.startswith("litert")
    damaged = bytearray((output / "random-causal-int8.tflite").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (output / "random-causal-int8.tflite").write_bytes(damaged)
    with pytest.raises(ContractError, match="SHA-256"):
        open_runtime(output)


def in_process(function: Callable[..., Any], *arguments: Any, name: str, timeout: float, progress: Progress) -> Any:
    return function(*arguments, progress)


def test_a_failed_parity_leaves_the_old_files(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize(
    ("scheme", "agreement", "sqnr", "accepted", "holds"),
    [
        ("int8", 0.85, 12.0, None, True),
        ("int8", 0.84, 60.0, None, False),
        ("int8", 1.0, 11.9, None, False),
        ("int8", 1.0, None, None, False),
        ("int8", float("nan"), 60.0, None, False),
        ("int8", 0.5, -3.0, 0.5, True),
        ("int8", 0.49, -3.0, 0.5, False),
        ("int8-dynamic", 0.94, 60.0, None, False),
        ("int16x8", 0.94, 60.0, None, False),
        ("fp16", 0.98, 60.0, None, False),
        ("fp16", 0.99, 40.0, None, True),
        ("none", 0.0, 0.0, None, True),
    ],
)
def test_a_quantised_artefact_is_held_to_the_bounds_of_its_scheme(
    scheme: str, agreement: float, sqnr: float | None, accepted: float | None, holds: bool
) -> None:
    measured = replace(QUICK, agreement=agreement, sqnr=sqnr)
    if holds:
        parity.check("a.onnx", SCHEMES[scheme], measured, accepted)
        return
    with pytest.raises(parity.ParityError, match=r"a\.onnx: .* expected at least .*--accept-agreement"):
        parity.check("a.onnx", SCHEMES[scheme], measured, accepted)


def test_clear_decisions_must_be_those_of_pytorch() -> None:
    def measured(clear: int) -> Parity:
        margins = (
            MarginRange(least=0.0, steps=40, agreed=30),
            MarginRange(least=CLEAR_MARGIN, steps=60, agreed=clear),
        )
        closeness = Closeness(agreed=30 + clear, last_agreed=95, kl=0.01, margins=margins)
        return Parity("scenes", 100, 0.95, 0.1, 0.01, {}, 0.1, 0.1, 30.0, closeness)

    parity.check("a.onnx", SCHEMES["int8"], measured(60))
    with pytest.raises(parity.ParityError, match=r"0\.9833 of the 60 decisions with a margin above 0\.5 agree"):
        parity.check("a.onnx", SCHEMES["int8"], measured(59))
    parity.check("a.onnx", SCHEMES["int8"], measured(59), 0.9)


@pytest.mark.parametrize("accepted", [None, 0.01])
def test_an_agreement_below_the_bounds_is_written_only_if_it_is_accepted(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    accepted: float | None,
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(bundle, "run_in_child", in_process)
    monkeypatch.setattr(parity, "measure", lambda *_: QUICK)
    output = tmp_path / "out"
    request = ExportRequest(folder, SCHEMES["int8"], ("onnx",))
    export(request, output)
    before = {p.name: p.read_bytes() for p in output.iterdir()}
    monkeypatch.setattr(parity, "measure", lambda *_: replace(QUICK, agreement=0.02))
    options = [] if accepted is None else ["--accept-agreement", str(accepted)]
    command = ["export", str(folder), "--quantize", "int8", "--format", "onnx", "--output", str(output), *options]
    with pytest.raises(SystemExit) as done:
        main(command)
    after = {p.name: p.read_bytes() for p in output.iterdir()}
    if accepted is None:
        assert done.value.code == 1
        assert "0.0200 of the decisions agree" in capsys.readouterr().err
        assert after == before
    else:
        assert done.value.code == 0
        assert open_runtime(output).contract.measured.accepted_agreement == accepted


def test_a_second_export_takes_the_place_of_the_first(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "run_in_child", in_process)
    monkeypatch.setattr(parity, "measure", lambda *_: QUICK)
    output = tmp_path / "out"
    export(ExportRequest(folder, SCHEMES["none"], ("onnx", "tflite")), output)
    (output / "mine.txt").write_text("kept")
    export(ExportRequest(folder, SCHEMES["fp16"], ("tflite",)), output)
    assert {p.name for p in output.iterdir()} == {"random-causal-fp16.tflite", "manifest.json", "mine.txt"}


def test_an_export_is_the_same_to_the_byte_each_time(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "run_in_child", in_process)
    monkeypatch.setattr(parity, "measure", lambda *_: QUICK)
    manifests = [export(ExportRequest(folder, SCHEMES["int8"], ("onnx", "tflite")), tmp_path / name) for name in "ab"]
    assert json.dumps(manifests[0].to_json()) == json.dumps(manifests[1].to_json())


def test_windows_of_a_windowed_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        assert entry.contract.measured.parity is not None
        assert entry.contract.measured.parity.max_error < 1e-4
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
def test_what_cannot_be_exported_is_refused_before_anything_is_written(
    form: str, head: str, windows: tuple[int, ...], scheme: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint"
    checkpoint(form, head).save(path)
    with pytest.raises(ExportError, match=message):
        export(ExportRequest(path, SCHEMES[scheme], ("onnx",), windows), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_ranges_can_be_recorded_on_a_data_set(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_asc.data.generated import write_scenes

    monkeypatch.setenv("EDGE_ASC_CACHE", str(tmp_path / "cache"))
    write_scenes(tmp_path / "data", 2, 0, seconds=1.0)
    recorded = record_plan(folder, tmp_path / "data", method="mse")
    assert recorded.provenance is not None
    assert recorded.provenance.clips == 20
    assert recorded.provenance.method == "mse"
    assert recorded.provenance.classes == 10
    plan = ExportRequest(folder, SCHEMES["int8"], ("onnx",), (), recorded).draft().plan
    own = ExportRequest(folder, SCHEMES["int8"], ("onnx",)).draft().plan
    assert plan.qparams != own.qparams
    assert np.isfinite([each.scale for each in plan.qparams.values()]).all()


def test_the_manifest_holds_the_plan(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "run_in_child", in_process)
    monkeypatch.setattr(parity, "measure", lambda *_: QUICK)
    manifest = export(ExportRequest(folder, SCHEMES["int8-float-gru"], ("tflite",)), tmp_path / "out")
    plan = Plan.from_json(manifest.plan)
    assert plan.scheme == SCHEMES["int8-float-gru"]
    assert plan.qparams.keys() < ExportRequest(folder, SCHEMES["int8"], ("tflite",)).draft().plan.qparams.keys()


def test_a_format_that_cannot_express_the_scheme_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"onnx cannot express int16x8.*expected --format tflite"):
        export(ExportRequest(folder, SCHEMES["int16x8"], ("tflite", "onnx")), tmp_path / "out")
    assert not (tmp_path / "out").exists()
