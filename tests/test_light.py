"""The light package runs committed artefacts on any machine: no torch, no onnx, no converter.

`python tests/golden/make.py` rewrites the artefacts and the logits that they gave on x86-64.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

import numpy as np
import numpy.typing as npt
import pytest

from edge_asc import StreamingClassifier, audio

GOLDEN = Path(__file__).parent / "golden"
ARTEFACTS = {"onnx": "fuse-int8-step.onnx", "tflite": "fuse-int8.tflite"}
MODULES = {"onnx": "onnxruntime", "tflite": "ai_edge_litert"}
# int8 logits are multiples of 0.027; another kernel may round a value the other way, and states carry that on.
TOLERANCE = 0.15

engines = pytest.mark.parametrize("engine", sorted(ARTEFACTS))


@pytest.fixture
def artefact(engine: str) -> Path:
    if find_spec(MODULES[engine]) is None:
        pytest.skip(f"{MODULES[engine]} is not installed; install edge-asc[{engine}]")
    return GOLDEN / ARTEFACTS[engine]


def samples() -> npt.NDArray[np.float32]:
    with np.load(GOLDEN / "stream.npz") as golden:
        recorded: npt.NDArray[np.int16] = golden["samples"]
    return recorded.astype(np.float32) / np.float32(32768)


def logits(engine: str) -> npt.NDArray[np.float32]:
    with np.load(GOLDEN / "stream.npz") as golden:
        recorded: npt.NDArray[np.float32] = golden[engine]
        return recorded


@engines
def test_logits_are_the_recorded_ones(artefact: Path, engine: str) -> None:
    classifier = StreamingClassifier.from_artefact(artefact)
    results = classifier.push(samples())
    expected = logits(engine)
    assert len(results) == len(expected) == 8
    np.testing.assert_allclose([result.logits for result in results], expected, rtol=0, atol=TOLERANCE)


@engines
def test_chunks_and_resets_change_nothing(artefact: Path) -> None:
    classifier = StreamingClassifier.from_artefact(artefact)
    whole = classifier.push(samples())
    classifier.reset()
    parts = [result for chunk in np.split(samples(), [1, 5000, 20000]) for result in classifier.push(chunk)]
    np.testing.assert_array_equal([result.logits for result in parts], [result.logits for result in whole])


@engines
def test_the_command_line_classifies(artefact: Path, tmp_path: Path) -> None:
    audio.write(tmp_path / "clip.wav", samples())
    program = "from edge_asc.cli import main; main()"
    arguments = ["classify", str(tmp_path / "clip.wav"), "--json", "--model", str(artefact)]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = StreamingClassifier.from_artefact(artefact).push(samples())[-1]
    assert expected.label in json.dumps(json.loads(done.stdout))


def without(*modules: str) -> str:
    """Python code that makes modules look as if they were not installed."""
    return f"import sys; sys.modules.update(dict.fromkeys({modules}))"


@engines
@pytest.mark.parametrize("missing", ["torch", "safetensors"])
def test_pretrained_models_run_without_torch(artefact: Path, engine: str, missing: str, tmp_path: Path) -> None:
    audio.write(tmp_path / "clip.wav", samples())
    others = [module for name, module in MODULES.items() if name != engine]
    program = f"{without(missing, 'tflite_runtime', *others)}; from edge_asc.cli import main; main()"
    for model, scheme in (("fuse", "none"), ("fuse-int8", "int8"), ("fuse-50", "int8")):
        arguments = ["classify", str(tmp_path / "clip.wav"), "--json", "--model", model]
        done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert (result["scheme"], len(result["decisions"])) == (scheme, 8)
        assert result["engine"].startswith({"onnx": "onnxruntime", "tflite": "litert"}[engine])


def test_a_pretrained_model_without_any_engine_names_what_to_install() -> None:
    modules = ("torch", "tflite_runtime", "tensorflow", *MODULES.values())
    program = f"{without(*modules)}; from edge_asc.engine import open_runtime; open_runtime('fuse')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "install it with: pip install 'edge-asc[tflite]'" in done.stderr


@engines
def test_without_torch_a_pretrained_model_is_inspected_but_not_exported(artefact: Path, engine: str) -> None:
    others = [module for name, module in MODULES.items() if name != engine]
    program = f"{without('torch', 'tflite_runtime', *others)}; from edge_asc.cli import main; main()"
    inspected, exported = (
        subprocess.run([sys.executable, "-c", program, verb, "fuse"], capture_output=True, text=True, check=False)
        for verb in ("inspect", "export")
    )
    assert inspected.returncode == 0, inspected.stderr
    assert "fuse-float" in inspected.stdout
    assert exported.returncode == 2
    assert "torch is not installed; install it with: pip install 'edge-asc[export]'" in exported.stderr


def test_nothing_heavy_is_imported() -> None:
    heavy = {"torch", "onnx", "scipy", "sklearn", "matplotlib", "jinja2", "safetensors"}
    modules = "edge_asc, edge_asc.cli, edge_asc.streaming, edge_asc.adaptation.adapter, edge_asc.adaptation.placing"
    front_end = "edge_asc.streaming.LogMel().push([0.0] * 4096)"
    code = f"import sys, {modules}; {front_end}; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@engines
def test_inspect_needs_no_package_of_the_extras(artefact: Path) -> None:
    """As in an environment of one runtime alone: each of these modules is missing."""
    missing = ["scipy", "torch", "msgspec", "onnx", "flatbuffers", "jinja2", "matplotlib", "tflite_micro"]
    code = f"""
    import importlib.abc, sys

    class Absent(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in {missing}:
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

    sys.meta_path.insert(0, Absent())
    from edge_asc.cli import main
    main(["inspect", sys.argv[1]])
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(code), str(artefact)], capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert "fuse" in done.stdout
