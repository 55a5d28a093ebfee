"""Golden vectors that any language reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edge_asc import StreamingClassifier, audio
from edge_asc.cli import cli
from edge_asc.engine import open_runtime
from edge_asc.errors import EdgeAscError
from edge_asc.rule import DecisionRule


def test_files_hold_what_the_document_says(golden: Path) -> None:
    document = json.loads((golden / "golden.json").read_text())
    for name, described in document["files"].items():
        size = int(np.prod(described["shape"])) * np.dtype(described["dtype"]).itemsize
        assert (golden / name).stat().st_size == size
    samples = np.fromfile(golden / document["samples_float"], "<f4")
    np.testing.assert_array_equal(np.fromfile(golden / document["samples"], "<i2") / np.float32(32768), samples)
    np.testing.assert_array_equal(audio.read(golden / "samples.wav"), samples)
    assert [clip["label"] for clip in document["clips"]] == ["airplane", "crickets", "sea_waves"]
    assert document["clips"][-1]["end"] == len(samples)
    assert all("CC0" in clip["credit"] for clip in document["clips"])


def test_vectors_are_those_of_a_stream(golden: Path) -> None:
    document = json.loads((golden / "golden.json").read_text())
    samples = np.fromfile(golden / document["samples_float"], "<f4")
    assert [Path(entry["file"]).suffix for entry in document["artefacts"]] == [".onnx", ".tflite"] * 2
    for entry in document["artefacts"]:
        runtime = open_runtime(golden / entry["file"])
        for name, rule in (("probabilities", None), ("clip_probabilities", runtime.contract.decision)):
            classifier = StreamingClassifier(runtime, decision=DecisionRule(rule) if rule else None)
            results = classifier.push(samples)
            expected = np.fromfile(golden / entry[name], "<f8").reshape(entry["steps"], -1)
            np.testing.assert_array_equal(expected, [result.probabilities for result in results])
            if rule is None:
                assert entry["decisions"] == [result.index for result in results]
                logits = np.fromfile(golden / entry["logits"], "<f4").reshape(entry["steps"], -1)
                np.testing.assert_array_equal(logits, [result.logits for result in results])


def test_a_folder_of_something_else_is_left_alone(golden: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    done = CliRunner().invoke(cli, ["conformance", "golden", "--output", str(tmp_path)])
    assert isinstance(done.exception, EdgeAscError)
    assert "holds other files than golden vectors" in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(EdgeAscError, match="no such checkpoint"):
        raise CliRunner().invoke(cli, ["conformance", "golden", "nothing"]).exception or AssertionError
