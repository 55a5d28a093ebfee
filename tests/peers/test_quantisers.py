"""Quantisers calibrate on streams, write artefacts under the same contract, and are compared with float."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from msgspec import UnsetType
from rich.console import Console

from artefacts import Artefacts, clips
from edge_asc.engine import open_runtime
from edge_asc.errors import ContractError, DatasetError, MissingExtraError
from edge_asc.streaming import Stream
from edge_asc_bench.kinds import Quantisation, QuantisedFile, load
from edge_asc_peers import package
from edge_asc_peers.commands.quantisers import file_table
from edge_asc_peers.quantisation import Clips, quantise, quantise_by
from edge_asc_peers.quantiser import QUANTISERS
from edge_asc_peers.quantisers.onnxruntime import Reader
from edge_asc_peers.recording import Recording


@pytest.fixture
def recording(artefacts: Artefacts) -> Recording:
    """Two clips of three steps each; the second has frames behind its last whole step."""
    first, second = clips(2, 29)
    return Recording(artefacts.steps["onnx"], (first[:24], second))


def test_a_step_is_recorded_with_the_states_of_its_stream(recording: Recording) -> None:
    runtime = open_runtime(recording.artefact)
    feeds = {spec.name: spec.feeds for spec in runtime.contract.signatures[0].outputs if spec.feeds}
    steps = list(recording)
    assert len(steps) == 6
    for i, step in enumerate(steps):
        if i % 3 == 0:
            assert not any(step[state].any() for state in feeds.values())
        else:
            before = runtime.run("step", steps[i - 1])
            for name, state in feeds.items():
                np.testing.assert_allclose(step[state], before[name], atol=1e-6)
                assert step[state].any()
    stream = Stream(runtime, "step")
    logits = np.concatenate([stream.feed(recording.features[0][i : i + 8]).ravel() for i in (0, 8, 16)])
    replayed = np.concatenate([runtime.run("step", step)["logits"].ravel() for step in steps[:3]])
    np.testing.assert_allclose(replayed, logits, atol=1e-6)


def test_the_shuffled_order_is_fixed_and_mixes_the_clips(recording: Recording) -> None:
    keys = [step["features"].tobytes() for step in recording]
    shuffled = [step["features"].tobytes() for step in recording.shuffle()]
    assert shuffled == [step["features"].tobytes() for step in recording.shuffle()]
    assert sorted(shuffled) == sorted(keys)
    assert {keys.index(key) // 3 for key in shuffled[:3]} == {0, 1}


def test_the_reader_of_onnxruntime_ends_and_starts_again(recording: Recording) -> None:
    steps = recording.shuffle()
    reader = Reader(steps)
    assert [reader.get_next() for _ in steps] == list(steps)
    assert reader.get_next() is None
    reader.rewind()
    assert reader.get_next() is steps[0]


def test_a_quantiser_is_registered_under_its_name() -> None:
    assert list(QUANTISERS.names()) == ["ai_edge_quantizer", "nncf", "onnxruntime"]
    methods = {name: list(each.methods) for name, each in QUANTISERS.all().items()}
    assert methods == {
        "ai_edge_quantizer": ["moving average", "minmax"],
        "nncf": ["performance", "mixed", "mixed minmax"],
        "onnxruntime": ["minmax", "entropy", "percentile"],
    }


def test_onnxruntime_quantises_a_step_under_the_same_contract(recording: Recording, tmp_path: Path) -> None:
    path = tmp_path / "step.onnx"
    quantise("onnxruntime", "minmax", recording, path)
    integer, real = open_runtime(path), open_runtime(recording.artefact)
    assert integer.contract.signatures == real.contract.signatures
    assert path.stat().st_size < 0.6 * recording.artefact.stat().st_size
    pairs = [(integer.run("step", step)["logits"], real.run("step", step)["logits"]) for step in recording]
    errors, logits = np.array([a - b for a, b in pairs]), np.array([b for _, b in pairs])
    assert 0 < np.square(errors).sum() < 0.1 * np.square(logits - logits.mean()).sum()


def test_a_result_that_the_engine_cannot_compute_is_refused(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scales of another axis, as a tool may write them, are found when a step is computed."""

    def misquantise(source: Path, _: object, path: Path) -> None:
        model = onnx.load(source)
        for node in model.graph.node:
            node.input[:] = ["rounded" if name == "features" else name for name in node.input]
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(3, np.float32), "scales"))
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(3, np.uint8), "zeros"))
        for kind, before, after in (("Dequantize", "integers", "rounded"), ("Quantize", "features", "integers")):
            node = onnx.helper.make_node(f"{kind}Linear", [before, "scales", "zeros"], [after], axis=1)
            model.graph.node.insert(0, node)
        onnx.save(model, path)

    monkeypatch.setattr(QUANTISERS, "load", lambda _: SimpleNamespace(methods={"axis": misquantise}))
    with pytest.raises(ContractError, match="the engine failed"):
        quantise("careless", "axis", recording, tmp_path / "step.onnx")


def test_a_quantiser_that_is_not_installed_is_absent_with_the_reason(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_none(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(package, "version", find_none)
    results = quantise_by("nncf", {"onnx": recording}, tmp_path)
    assert not results.versions
    assert not results.files
    assert list(results.absent) == ["nncf performance", "nncf mixed", "nncf mixed minmax"]
    assert set(results.absent.values()) == {"nncf is not installed; run: pip install nncf"}


def test_calibration_and_evaluation_share_no_recording(scenes10: Path) -> None:
    with pytest.raises(DatasetError, match="no fold 9"):
        Clips.choose(scenes10, 9, 4, 4)
    chosen = Clips.choose(scenes10, 1, 4, 6)
    assert (len(chosen.calibration.clips), len(chosen.evaluation.clips)) == (4, 6)
    groups = [{clip.group for clip in side.clips} for side in (chosen.calibration, chosen.evaluation)]
    assert not groups[0] & groups[1]
    assert chosen.describe_calibration().startswith("4 training clips of fold 1 of scenes10")


def test_the_table_of_files_has_a_row_for_each() -> None:
    files = {
        "ours": QuantisedFile(bytes=219_400, integer=52, float=0, moves=28, partitions=1, outside=0),
        "theirs": QuantisedFile(bytes=284_400, integer=52, float=20, moves=275, partitions=None, outside=None),
    }
    quantisation = Quantisation(calibration="few clips", steps=3, versions={}, files=files, absent={})
    console = Console(width=100, record=True, file=StringIO())
    console.print(file_table(quantisation))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in console.export_text().splitlines()]
    assert ["ours", "219", "52", "0", "28", "1", "0"] in rows
    assert ["theirs", "284", "52", "20", "275", "–", "–"] in rows


@pytest.mark.peers
@pytest.mark.parametrize("name", QUANTISERS.names())
def test_all_methods_of_an_installed_quantiser_stream(name: str, artefacts: Artefacts, tmp_path: Path) -> None:
    try:
        QUANTISERS.load(name).installed_version()
    except MissingExtraError as error:
        pytest.skip(str(error))
    features = tuple(clips(4, 80))
    recordings = {format: Recording(artefacts.steps[format], features) for format in ("onnx", "tflite")}
    results = quantise_by(name, recordings, tmp_path)
    assert not results.absent
    for path in results.files.values():
        stream = Stream(open_runtime(path), "step")
        assert np.isfinite([stream.feed(features[0][i : i + 8]) for i in range(0, 80, 8)]).all()


@pytest.mark.peers
def test_the_command_writes_a_result_that_the_report_reads(scenes10: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge_asc", "quantisers", str(scenes10), "fuse", "--quantiser", "onnxruntime"]
    few = ["--calibration-clips", "4", "--clips", "5", "--lengths", "1,5", "--output", str(tmp_path)]
    done = subprocess.run([*command, *few], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (evaluation,) = load([tmp_path / "fuse.json"]).evaluations
    assert not isinstance(evaluation.quantisation, UnsetType)
    titles = [f"onnxruntime {method}" for method in ("minmax", "entropy", "percentile")]
    assert [result.model for result in evaluation.results] == ["float", "edge-asc onnx", "edge-asc tflite", *titles]
    assert list(evaluation.quantisation.files) == ["edge-asc onnx", "edge-asc tflite", *titles]
    assert evaluation.quantisation.steps == 4 * 3 * 19
    assert {"edge-asc", "onnxruntime", "torch"} <= set(evaluation.quantisation.versions)
