"""An export loads, lowers and writes each thing once, and steps through each pass in order."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from artefacts import checkpoint, planned
from edge_asc.manifest import Entry
from edge_asc.progress import SILENT
from edge_asc.provenance import Measured, Parity
from edge_asc.training.checkpoint import Checkpoint
from edge_asc_export import artefact, bundle, parity
from edge_asc_export.bundle import ExportRequest, write_bundle
from edge_asc_export.format import FORMATS
from edge_asc_export.level_parity import FrontEndErrors
from edge_asc_export.scheme import SCHEMES

QUICK = Parity("noise", 60, 1.0, 1e-6, 1e-7, {"1": 1.0}, 1e-6, 1e-6, 60.0)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Calls by what is called; parity is not measured, and files are not opened again."""
    counts: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return function(*args, **kwargs)

        return call

    load = Checkpoint.load.__func__  # type: ignore[attr-defined]  # a class method has it
    monkeypatch.setattr(Checkpoint, "load", classmethod(counted("loads", load)))
    for name in ("lower_step", "lower_window", "lower_gru"):
        monkeypatch.setattr(artefact, name, counted("lowerings", getattr(artefact, name)))
    for name in FORMATS.names():
        fmt = FORMATS.load(name)
        monkeypatch.setitem(FORMATS._loaded, name, replace(fmt, write=counted(f"{name} writes", fmt.write)))
    monkeypatch.setattr(parity, "measure", lambda *_: QUICK)
    return counts


def test_an_int8_export_loads_and_lowers_once_and_writes_each_file_once(counts: Counter[str], tmp_path: Path) -> None:
    planned().save(tmp_path / "model")
    request = ExportRequest(tmp_path / "model", SCHEMES["int8"], ("onnx", "tflite"))
    manifest = write_bundle(request, tmp_path / "out", SILENT)
    assert counts == {"loads": 1, "lowerings": 1, "onnx writes": 1, "tflite writes": 1}
    assert len(manifest.files) == 2


def test_eight_windows_are_eight_writes(counts: Counter[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = checkpoint("windowed")
    found.save(tmp_path / "model")
    contracts = {}
    request = ExportRequest(tmp_path / "model", SCHEMES["none"], ("onnx",), tuple(range(1, 9)))

    def unopened(written: Any, reference: Any, scheme: Any, folder: Any, errors: FrontEndErrors) -> Any:
        contracts[written.name] = written.with_measured(Measured(parity=QUICK)).contract
        return Entry("", 0, written.format, "", written.contract)

    monkeypatch.setattr(bundle, "_check", unopened)
    write_bundle(request, tmp_path / "out", SILENT)
    assert counts == {"loads": 1, "lowerings": 9, "onnx writes": 8}
    assert len(contracts) == 8


@pytest.mark.parametrize("name", FORMATS.names())
def test_every_pass_states_what_it_needs_and_why_it_is_exact(name: str) -> None:
    passes = FORMATS.load(name).passes
    assert len({each.name for each in passes}) == len(passes)
    assert all(each.needs and each.exact for each in passes)
    assert passes[0].name == "equalise channels"
