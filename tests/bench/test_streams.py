"""Events on an endless stream: in a benchmark's result, and in the gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from artefacts import Artefacts, sound
from edge_asc import audio
from edge_asc.cli import cli
from edge_asc.detection.rules import EventRules
from edge_asc.engine import open_runtime
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.endless import Followed, match_detections
from edge_asc.evaluation.soundscape import Interval
from edge_asc.rule import DecisionRule
from edge_asc_bench.finding import Finding
from edge_asc_bench.gate import IncomparableError, check
from edge_asc_bench.limits import Limits
from edge_asc_bench.result import Result, read
from edge_asc_bench.streamscore import Stream, StreamScore

BASELINE = Path(__file__).parents[2] / "benchmarks/baselines/generated/fuse.json"
STREAM = Stream(
    data="d", fold=None, background=None, background_pause=30.0, seconds=86400.0, seed=0, sounds=100, sha256="0" * 64
)
SCORE = StreamScore(
    decision="last",
    seconds=86400.0,
    sounds=100,
    detected=80,
    false_alarms=40,
    false_alarms_per_day=40.0,
    seconds_to_detection=2.0,
    error_rate=0.2,
    changes_per_minute=2.0,
    float_twin=None,
    matched_false_alarms=None,
    twin_false_alarms=None,
)


def measured(stream: Stream = STREAM, **changes: Any) -> Result:
    """The committed baseline with a stream, and changes of its last model's score."""
    result = read(BASELINE)
    last = result.variants[-1]
    return replace(
        result, stream=stream, variants=(*result.variants[:-1], replace(last, stream=replace(SCORE, **changes)))
    )


def find(result: Result, baseline: Result) -> dict[str, Finding]:
    words = ("false alarm", "detected")
    return {f.what: f for f in check(result, baseline, Limits()).findings if any(word in f.what for word in words)}


def test_more_false_alarms_and_fewer_detections_are_regressions() -> None:
    found = find(measured(), measured())
    assert {finding.verdict for finding in found.values()} == {"holds"}
    assert set(found) == {"false alarms a day", "share of sounds detected"}
    assert find(measured(false_alarms=42), measured())["false alarms a day"].verdict == "holds"
    assert find(measured(false_alarms=43), measured())["false alarms a day"].verdict == "regression"
    assert find(measured(detected=75), measured())["share of sounds detected"].verdict == "holds"
    assert find(measured(detected=74), measured())["share of sounds detected"].verdict == "regression"


def test_quantisation_may_add_few_false_alarms_at_the_detections_of_float() -> None:
    twin: dict[str, Any] = {"float_twin": "fuse-float.tflite", "twin_false_alarms": 40}
    what = "false alarms at the detections of fuse-float.tflite"
    assert find(measured(**twin, matched_false_alarms=42), measured())[what].verdict == "holds"
    assert find(measured(**twin, matched_false_alarms=43), measured())[what].verdict == "regression"
    # A model that cannot reach the detections of its twin does not hold, either.
    assert find(measured(**twin), measured())[what].verdict == "regression"


def test_another_stream_and_a_missing_one_are_not_compared() -> None:
    with pytest.raises(IncomparableError, match="stream is another"):
        check(measured(replace(STREAM, sha256="1" * 64)), measured(), Limits())
    with pytest.raises(IncomparableError, match="add --stream"):
        check(read(BASELINE), measured(), Limits())
    skips = [str(skip) for skip in check(measured(), read(BASELINE), Limits()).skips]
    assert any("events on a stream" in skip for skip in skips)


def test_more_detections_than_sounds_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(measured(detected=101).to_json()))
    with pytest.raises(EdgeAscError, match=r"stream.detected: got 101, expected at most 100"):
        read(path)


def test_thresholds_are_shifted_to_the_detections_of_another_model(artefacts: Artefacts) -> None:
    contract = open_runtime(artefacts.steps["onnx"]).contract
    p = np.zeros((100, len(contract.labels)), np.float32)
    p[10:14, 0], p[30:34, 0], p[50:54, 0], p[70:74, 0] = 0.9, 0.6, 0.45, 0.3
    followed = Followed(contract, DecisionRule("last"), 0.25, p, np.zeros(100, np.int16))
    label = contract.labels[0]
    intervals = [Interval(label, 10 * 0.25, 14 * 0.25), Interval(label, 50 * 0.25, 54 * 0.25)]
    one = match_detections(followed, intervals, EventRules(), 1)
    assert one is not None
    assert (one.detected, one.false_alarms) == (1, 0)
    two = match_detections(followed, intervals, EventRules(), 2)
    assert two is not None
    assert (two.detected, two.false_alarms) == (2, 1)
    assert match_detections(followed, intervals, EventRules(), 3) is None


def test_bench_measures_events_on_a_stream(artefacts: Artefacts, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "audio").mkdir(parents=True)
    rows = ["filename\tscene_label\tidentifier\tsource_label"]
    for number in range(4):
        name = f"audio/{number}.wav"
        audio.write(data / name, sound(2, number), 16000)
        rows.append(f"{name}\t{'ab'[number % 2]}\tplace-{number}\ta")
    (data / "meta.csv").write_text("\n".join(rows) + "\n")
    output = tmp_path / "bench.json"
    models = [str(artefacts.folder / name) for name in ("step.tflite", "step-int8.tflite")]
    options = ["--rounds", "1", "--lengths", "1", "--data", str(data), "--output", str(output)]
    result = CliRunner().invoke(cli, ["bench", *models, *options, "--stream", "0.05"])
    assert result.exit_code == 0, result.output
    written = read(output)
    assert isinstance(written.stream, Stream)
    assert written.stream.sounds > 0
    scores = [variant.stream for variant in written.variants]
    assert all(isinstance(score, StreamScore) for score in scores)
    assert isinstance(scores[1], StreamScore)
    assert scores[1].float_twin == "step.tflite"
    result = CliRunner().invoke(cli, ["bench", *models, "--stream", "1", "--output", str(output)])
    assert result.exit_code == 2
