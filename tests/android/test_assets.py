"""The app's assets and the golden vectors."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edge_asc.cli import cli
from edge_asc.contract import INPUT_KINDS, METADATA_KEY, OLDEST_VERSION, SCHEMA_VERSION, TensorSpec
from edge_asc.detection.detector import EventDetector
from edge_asc.detection.rules import EventRules
from edge_asc.engine import open_runtime
from edge_asc.errors import EdgeAscError
from edge_asc.files import sha256
from edge_asc.frontend import LogMel
from edge_asc.jsonobject import JsonObject
from edge_asc.rule import RULE_NAMES, Belief, DecisionRule
from edge_asc_android import assets, demo, golden
from edge_asc_bench import golden_decisions
from edge_asc_bench.golden import SCHEMA_VERSION as GOLDEN_VERSION
from edge_asc_bench.golden_files import GoldenFiles


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make exported` writes, with one model in one format."""
    folder = tmp_path_factory.mktemp("bundles")
    for name, scheme in (("float", "none"), ("int8", "int8")):
        arguments = ["--quantize", scheme, "--format", "onnx", "--output", str(folder / "fuse" / name)]
        done = CliRunner().invoke(cli, ["export", "fuse", *arguments])
        assert done.exit_code == 0, done.output
    return folder


def test_assets_hold_artefacts_clips_and_logits_of_pytorch(bundles: Path, tmp_path: Path) -> None:
    output = tmp_path / "assets"
    output.mkdir()
    (output / "old").write_text("to be replaced")
    assets.write(bundles, ["fuse"], output)
    assert {path.name for path in output.iterdir()} == {"models", "bench"}
    plan = json.loads((output / "bench/fuse.json").read_text())
    reference, *variants = plan["variants"]
    assert reference["name"] == plan["reference"] == "fuse"
    assert {variant["file"] for variant in variants} == {path.name for path in (output / "models").iterdir()}
    for variant in variants:
        assert variant["sha256"] == sha256(output / "models" / variant["file"])
    labels = len(open_runtime(bundles / "fuse/float").contract.labels)
    assert len(plan["clips"]) == plan["data"]["clips"] == 10
    for entry in plan["clips"]:
        pcm = np.fromfile(output / "bench" / entry["audio"], "<i2")
        assert len(pcm) == assets.SECONDS * 16000
        assert np.abs(pcm).max() > 1000
        logits = np.fromfile(output / "bench" / entry["logits"], "<f4").reshape(-1, labels)
        assert len(logits) == len(pcm) // 4096
    streamed = np.stack(assets.stream(open_runtime(bundles / "fuse/float"), pcm))
    np.testing.assert_allclose(streamed, logits, atol=1e-4)


def test_golden_vectors_are_those_of_a_stream(bundles: Path, tmp_path: Path) -> None:
    output = tmp_path / "golden"
    golden.write(bundles, ["fuse"], output)
    document = json.loads((output / "golden.json").read_text())
    assert document["schema_version"] == GOLDEN_VERSION
    pcm = np.fromfile(output / document["samples"], "<i2")
    samples = pcm.astype(np.float32) / np.float32(32768)
    np.testing.assert_array_equal(np.fromfile(output / document["log_mel"], "<f4").reshape(-1, 256), LogMel()(samples))
    assert {entry["scheme"] for entry in document["artefacts"]} == {"none", "int8"}
    assert {open_runtime(output / entry["file"]).contract.input for entry in document["artefacts"]} == set(INPUT_KINDS)
    for entry in document["artefacts"]:
        runtime = open_runtime(output / entry["file"])
        step = runtime.contract.signature("step")
        logits = np.fromfile(output / entry["logits"], "<f4").reshape(entry["steps"], -1)
        assert entry["steps"] == len(samples) // step.samples
        np.testing.assert_array_equal(logits, np.stack(assets.stream(runtime, pcm)))
        probabilities = np.fromfile(output / entry["probabilities"], "<f8").reshape(entry["steps"], -1)
        period = step.samples / runtime.contract.front_end.sample_rate
        belief = Belief(runtime.contract.live, len(runtime.contract.labels), period, runtime.contract.temperature)
        np.testing.assert_array_equal(probabilities, [belief.update(row) for row in logits])
        # The state after the first step, put into the engine by hand, gives the logits of the second.
        frames = LogMel(runtime.contract.front_end)(samples)[step.frames : 2 * step.frames]
        inputs = {spec.name: _quantise(spec, output / entry["states"][spec.name]) for spec in step.states()}
        kind, second = runtime.contract.input, slice(step.samples, 2 * step.samples)
        (source,) = (spec for spec in step.inputs if spec.role != "state")
        values = {"features": frames, "samples": samples[second], "int16": pcm[second]}[kind]
        inputs[source.name] = values.reshape(source.shape)
        given = np.fromfile(output / entry["inputs"], "<f4").reshape(entry["steps"], -1)[1]
        np.testing.assert_array_equal(given, (frames if kind == "features" else samples[second]).ravel())
        result = runtime.run("step", inputs)[step.output("logits").name]
        np.testing.assert_array_equal(np.ravel(result), logits[1])


def test_golden_vectors_of_decisions_hold_all_rules_and_all_changes_of_events(tmp_path: Path) -> None:
    document = json.loads(json.dumps(golden_decisions.write(GoldenFiles(tmp_path)).to_json()))
    labels, step = document["labels"], document["step"]
    logits = np.fromfile(tmp_path / document["logits"], "<f4").reshape(-1, len(labels))
    levels = np.fromfile(tmp_path / document["levels"], "<f8")
    assert len(logits) == len(levels) == 400
    rules = [DecisionRule.from_json(JsonObject(entry["rule"], "rule")) for entry in document["rules"]]
    assert {rule.name for rule in rules} == set(RULE_NAMES)
    for rule, entry in zip(rules, document["rules"], strict=True):
        probabilities = np.fromfile(tmp_path / entry["probabilities"], "<f8").reshape(logits.shape)
        belief = Belief(rule, len(labels), step, document["temperature"])
        np.testing.assert_array_equal(probabilities, [belief.update(row) for row in logits])
    for detected in document["events"]:
        event_rules = EventRules.from_json(JsonObject(detected["rules"], "events"))
        log_odds = np.zeros(len(labels))
        log_odds[labels.index(document["unknown"]["label"])] = np.log(event_rules.other_odds)
        belief = Belief(event_rules.decision, len(labels), step, document["temperature"], log_odds)
        detector = EventDetector(labels, event_rules, step)
        rows = enumerate(zip(logits, levels, strict=True), 1)
        events = [event for i, (row, level) in rows for event in detector.update(i * step, belief.update(row), level)]
        expected = [(change["label"], change["start"], change["end"]) for change in detected["changes"]]
        assert expected == [(event.label, event.start, event.end) for event in events + detector.finish()]
        # Each finds starts and ends, so that a comparison of them means something.
        assert {change["end"] is None for change in detected["changes"]} == {True, False}


def _quantise(spec: TensorSpec, path: Path) -> Any:
    values = np.fromfile(path, "<f4")[: int(np.prod(spec.shape))]
    if spec.quantisation:
        values = np.round(values / np.float32(spec.quantisation.scale)) + spec.quantisation.zero_point
    return values.astype(spec.dtype).reshape(spec.shape)


def test_a_missing_export_is_reported(tmp_path: Path) -> None:
    with pytest.raises(EdgeAscError, match="make exported"):
        assets.write(tmp_path, ["fuse"], tmp_path / "assets")
    assert not (tmp_path / "assets").exists()


def test_a_build_needs_a_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages/edge_asc_android"
    monkeypatch.setattr(demo, "__file__", str(package / "demo.py"))
    with pytest.raises(EdgeAscError, match=r"Kotlin sources are not in .*expected a clone of the edge-asc repository"):
        demo.Demo.find()


def test_a_build_needs_assets(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["android", "build", "--folder", str(tmp_path)])
    assert isinstance(done.exception, EdgeAscError)
    assert "run: edge-asc android assets" in str(done.exception)


def test_the_app_reads_the_versions_of_contracts_that_python_reads() -> None:
    source = (demo.Demo.find().kotlin("core", "main") / "org/edgeasc/core/Contract.kt").read_text()
    version, key = re.search(r"SCHEMA_VERSION = (\d+)", source), re.search(r'METADATA_KEY = "(\w+)"', source)
    oldest = re.search(r"OLDEST_VERSION = (\d+)", source)
    assert version is not None
    assert version[1] == str(SCHEMA_VERSION)
    assert oldest is not None
    assert oldest[1] == str(OLDEST_VERSION)
    assert key is not None
    assert key[1] == METADATA_KEY
