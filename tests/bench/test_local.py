import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from artefacts import clips
from edge_asc.errors import EdgeAscError
from edge_asc_bench import local
from edge_asc_bench.latency import Latency
from edge_asc_bench.local import Clips, Settings, bench
from edge_asc_bench.machine import conditions, describe
from edge_asc_bench.report import write_report
from edge_asc_bench.result import read

HEARD = Clips("noise", clips(3, 40), (), (), "digest")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name, value in (("WARM_UP", 1), ("BURST", 3), ("WINDOW_BURST", 1), ("SUSTAINED_BURST", 1)):
        monkeypatch.setattr(local, name, value)


def test_models_are_measured_side_by_side(artefacts, tmp_path):
    models = [(name, path) for name, path in artefacts.steps.items()]
    models.append(("int8", artefacts.folder / "step-int8.tflite"))
    seen = []
    settings = Settings(lengths=(1,), rounds=2, duration=0.01)
    result = bench(models, HEARD, settings, progress=lambda *told: seen.append(told))
    (tmp_path / "result.json").write_text(json.dumps(result, allow_nan=False))
    assert read(tmp_path / "result.json") == json.loads(json.dumps(result))
    assert result["reference"] == "torch"
    assert ("latency", 1, 2) in seen
    for variant in result["variants"]:
        step = variant["latency"]["step"]
        assert step["total"]["count"] == 6
        for name in ("p50", "mean", "maximum"):
            parts = step["front_end"][name] + step["model"][name]
            assert 0 < step["total"][name] <= 1.5 * parts
        assert step["real_time_factor"] == pytest.approx(step["total"]["mean"] / 256, rel=1e-3)
        assert step["cold_start_ms"] >= step["load_ms"] > 0
        assert step["sustained"]["ratio"] > 0
        assert any("few for percentiles" in doubt for doubt in step["unstable"])
        memory = variant["memory"]
        assert 0 < memory["bare"] < memory["imported"] < memory["peak"]
    shares = {v["name"]: v["agreement"]["share"] for v in result["variants"] if v["agreement"]}
    assert shares["onnx"] == shares["tflite"] == 1.0
    assert "torch" not in shares
    int8 = result["variants"][-1]
    assert int8["graph"]["partitions"] == 1
    assert int8["state_bytes"] < result["variants"][0]["state_bytes"] / 3


def test_accuracy_comes_with_the_clips_that_are_right(artefacts):
    contract_labels = artefacts.causal.labels
    heard = Clips("noise", clips(3, 40), contract_labels, (0, 1, 2), "digest")
    result = bench([("torch", artefacts.steps["torch"])], heard, Settings(lengths=(1,), rounds=1))
    (row,) = result["variants"][0]["accuracy"]["lengths"]
    assert len(row["right_clips"]) == row["count"] == 3
    assert row["right_clips"].count("1") == row["right"]


def test_the_report_shows_a_benchmark(artefacts, tmp_path):
    models = [(name, artefacts.steps[name]) for name in ("torch", "tflite")]
    heard = Clips("noise", clips(3, 80), artefacts.causal.labels, (0, 1, 2), "digest")
    result = bench(models, heard, Settings(lengths=(1, 2), rounds=1, duration=0.01))
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(result))
    write_report([path], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    for variant in result["variants"]:
        assert f"{variant['latency']['step']['total']['p50']:.3g}" in page
        assert variant["name"] in page
    smallest = min(variant["bytes"] for variant in result["variants"])
    assert f"<mark>{smallest / 1000:.0f}</mark>" in page
    assert page.count("<polyline") == 2
    assert "few for percentiles" in page
    assert "without a pause" in page
    assert "http" not in page
    path.write_text(json.dumps({**result, "schema_version": 9}))
    with pytest.raises(EdgeAscError, match="schema version 9"):
        write_report([path], tmp_path / "other.html")
    assert not (tmp_path / "other.html").exists()


def test_windows_are_measured_each(artefacts):
    result = bench([("w", artefacts.folder / "windows.tflite")], HEARD, Settings(lengths=(1, 2), rounds=1))
    (variant,) = result["variants"]
    assert set(variant["latency"]) == {"1", "2"}
    assert variant["agreement"] is None
    assert variant["latency"]["2"]["period_s"] == 0.25


def test_a_window_that_is_not_asked_for_is_an_error_before_anything_is_measured(artefacts):
    with pytest.raises(EdgeAscError, match="has windows of 1, 2 s; name one of them"):
        bench([("w", artefacts.folder / "windows.tflite")], HEARD, Settings(lengths=(5,), rounds=1))


def test_models_of_other_labels_are_not_compared(artefacts, tmp_path):
    other = replace(artefacts.causal, labels=tuple("klmnopqrst"))
    other.save(tmp_path / "other")
    models = [("torch", artefacts.steps["torch"]), ("other", tmp_path / "other")]
    result = bench(models, HEARD, Settings(lengths=(1,), rounds=1))
    assert [variant["agreement"] for variant in result["variants"]] == [None, None]


def test_a_model_that_cannot_be_opened_is_named(artefacts, tmp_path):
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"nothing")
    with pytest.raises(EdgeAscError, match=r"bad\.tflite"):
        bench([("bad", bad)], HEARD, Settings(rounds=1))


def test_a_process_that_ends_is_an_error_with_its_exit_code(artefacts, monkeypatch):
    process = local._Process(0, "onnx", artefacts.steps["onnx"], 1, None)
    process._process.kill()
    process._process.wait()
    with pytest.raises(EdgeAscError, match="onnx: its process ended with exit code -9"):
        process.run(1)
    process.close()


def test_the_worker_answers_errors_and_goes_on():
    commands = [{"do": "open", "path": "no-such.onnx", "threads": 1, "seconds": None}, {"do": "memory"}]
    text = "".join(json.dumps(command) + "\n" for command in commands)
    done = subprocess.run(
        [sys.executable, "-m", "edge_asc_bench.worker"], input=text, capture_output=True, text=True, check=True
    )
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert "no-such.onnx" in first["error"]
    assert second["now"] > 0


def test_distributions():
    found = Latency.of([1_000_000] * 299 + [9_000_000])
    assert (found.p50, found.maximum, found.count) == (1.0, 9.0, 300)
    assert any("standard deviation" in doubt for doubt in found.doubts())
    assert Latency.of([2_000_000] * 300).doubts() == []
    tail = Latency.of([1_000_000] * 280 + [2_000_000] * 20)
    assert any("99th percentile is 2.0 times" in doubt for doubt in tail.doubts())
    assert Latency.of(np.arange(1, 201) * 1000).to_json()["count"] == 200


def test_the_machine_is_described_and_what_is_unknown_is_listed():
    machine = describe()
    assert machine["packages"]["numpy"]
    assert machine["cores"] >= 1
    assert all(machine[name] is None for name in machine["missing"])
    assert set(conditions()) == {"frequency_mhz", "temperature_c", "load", "throttling"}


def test_a_raspberry_pis_throttling_is_read(tmp_path, monkeypatch):
    tool = tmp_path / "vcgencmd"
    tool.write_text("#!/bin/sh\necho throttled=0x50005\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert conditions()["throttling"] == [
        "under-voltage",
        "throttled",
        "under-voltage since boot",
        "throttled since boot",
    ]
