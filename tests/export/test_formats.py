"""A format of another distribution is listed, written, checked and inspected like ours."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from artefacts import planned
from edge_asc.errors import ContractError, EdgeAscError, ExportError
from edge_asc_export.format import FORMATS, check_support, format_of, supporting
from edge_asc_export.scheme import SCHEMES

# ONNX in files of another suffix, and the engine that runs them: each descriptor is one module.
TOY_FORMAT = """
from dataclasses import replace
from edge_asc_export.formats import onnx

FORMAT = replace(
    onnx.FORMAT, name="toy", title="Toy", suffix=".toy", supports=lambda scheme: scheme.activations == "float32"
)
"""
TOY_ENGINE = """
from edge_asc.engine import Engine, has_suffix
from edge_asc.engines.onnxruntime import OnnxRuntime

ENGINE = Engine(
    name="toy",
    title="Toy",
    accepts=has_suffix(".toy"),
    open=OnnxRuntime,
    distribution="onnxruntime",
    module="onnxruntime",
    suffixes=(".toy",),
)
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A distribution outside the project, on the path of child processes."""
    site = tmp_path / "site"
    for folder in (site / "toy_formats", site / "toy_engines", site / "toy-1.0.dist-info"):
        folder.mkdir(parents=True)
        if folder.suffix != ".dist-info":
            (folder / "__init__.py").touch()
    (site / "toy_formats/toy.py").write_text(TOY_FORMAT)
    (site / "toy_engines/toy.py").write_text(TOY_ENGINE)
    info = site / "toy-1.0.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[edge_asc.formats]\ntoy = toy_formats\n\n[edge_asc.engines]\ntoy = toy_engines\n"
    )
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def run(environment: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from edge_asc.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_format_of_another_package_exports_from_the_command_line(toy: dict[str, str], tmp_path: Path) -> None:
    planned().save(tmp_path / "model")
    printed = run(toy, "export", tmp_path / "model", "--format", "toy", "--output", tmp_path / "out", "--json")
    assert printed.returncode == 0, printed.stderr
    (name,) = json.loads(printed.stdout)["files"]
    assert name == "random-causal-float-step.toy"
    entry = json.loads((tmp_path / "out/manifest.json").read_text())["files"][name]
    assert entry["format"] == "toy"
    assert entry["contract"]["measured"]["parity"]["max_error"] < 1e-4
    inspected = run(toy, "inspect", tmp_path / "out" / name, "--json")
    assert inspected.returncode == 0, inspected.stderr
    assert json.loads(inspected.stdout)["graph"]["operations"]["step"]["Conv"] > 20
    refused = run(
        toy, "export", tmp_path / "model", "--format", "toy", "--quantize", "int8", "--output", tmp_path / "b"
    )
    assert refused.returncode == 2
    assert (
        "toy cannot express int8 (int8 weights, int8 activations); expected --format c or onnx or tflite"
        in refused.stderr
    )


def test_formats_are_listed_by_what_they_support() -> None:
    assert FORMATS.names() == ("c", "onnx", "tflite")
    assert supporting(SCHEMES["int8"]) == ("c", "onnx", "tflite")
    assert supporting(SCHEMES["int16x8"]) == ("tflite",)


def test_unknown_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"onnx cannot express int16x8.*expected --format tflite"):
        check_support("onnx", SCHEMES["int16x8"])
    with pytest.raises(EdgeAscError, match=r"got format 'mlir'; expected one of: c, onnx, tflite"):
        check_support("mlir", SCHEMES["none"])
    with pytest.raises(ContractError, match=r"ending in \.bin; expected one of \.c, \.onnx, \.tflite"):
        format_of(tmp_path / "model.bin")
