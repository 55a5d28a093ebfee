"""The Android demo's benchmark, with a shell of this machine in the phone's place."""

import json
import re
import stat
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edge_asc.cli import cli
from edge_asc.errors import EdgeAscError
from edge_asc.progress import Progress
from edge_asc_bench.job import Settings
from edge_asc_bench.measurement import bench_app
from edge_asc_bench.remote.connection import Finished
from edge_asc_bench.result import KIND, SCHEMA_VERSION, Result, read
from edge_asc_bench.target import TargetLostError, open_app, open_target
from edge_asc_bench.targets import app
from edge_asc_bench.targets.adb import AdbDevice
from recorder import Recorder

# What Android's am does here: it starts the app, which reports on what it does while it does it.
AM = """#!/usr/bin/env python3
import json, pathlib, subprocess, sys
arguments = sys.argv[1:]
here = pathlib.Path(__file__).parent
(here / "arguments").write_text(json.dumps(arguments))
name = arguments[arguments.index("id") + 1]
script = (here / "app.sh").read_text().replace("ID", name)
subprocess.Popen(["sh", "-c", script], cwd=here, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print("Starting: Intent")
"""


def reported_by_app() -> dict[str, Any]:
    distribution: dict[str, Any] = dict.fromkeys(("p50", "p90", "p99", "maximum", "minimum", "mean", "deviation"), 1.0)
    distribution |= {"count": 10, "percentiles": {"50": 1.0}}
    latency = {
        "front_end": distribution,
        "model": distribution,
        "total": distribution,
        "rounds_ms": [1.0],
        "period_s": 0.256,
        "real_time_factor": 0.004,
        "load_ms": 1.0,
        "cold_start_ms": 2.0,
        "sustained": None,
        "unstable": [],
    }
    variant = {
        **{"name": "fuse-int8.tflite", "file": "fuse-int8.tflite", "sha256": "0", "checkpoint_sha256": "1", "bytes": 1},
        **{"engine": "litert", "form": "causal", "scheme": "int8", "parameters": 1, "macs": {}, "state_bytes": 1},
        **dict.fromkeys(("graph", "memory", "accuracy", "loss", "instructions")),
        "latency": {"step": latency},
        "agreement": {"steps": 10, "share": 1.0, "mean_error": 0.0, "max_error": 0.0},
    }
    machine = {"cpu": "SoC", "architecture": "aarch64", "emulated": None}
    return {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "complete": True,
        "incomplete": None,
        "made": {"edge_asc": "0", "at": "now", "seconds": 1, "target": "app", "command": ""},
        "machine": machine,
        "conditions": [
            {
                "at": 0.0,
                "phase": "before",
                "frequency_mhz": None,
                "temperature_c": None,
                "load": None,
                "throttling": [],
                "thermal_status": 0,
            }
        ],
        "settings": {"threads": 1, "lengths": []},
        "data": {"name": "generated", "clips": 1, "sha256": "2", "labels": []},
        "reference": None,
        "whole_clip": None,
        "variants": [variant],
    }


class Connection:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def run(self, command: str, text: str = "") -> Finished:
        path = f"PATH={self.folder}:$PATH; {command}"
        done = subprocess.run(["sh", "-c", path], capture_output=True, text=True, check=False)
        return Finished(done.returncode, done.stdout, done.stderr)

    async def get(self, source: str, target: Path) -> None:
        target.write_bytes((self.folder / source).read_bytes())


def measure(
    url: str = "adb://", model: str = "fuse", duration: float = 0.0, progress: Progress | None = None
) -> Result:
    with (progress or Recorder()).phase("starting the app") as phase:
        settings = Settings(rounds=3, duration=duration)
        return bench_app(open_app(url.replace("adb", "app")), model, settings, "line", phase)


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the phone's; `app.sh` in it is what the app does."""

    @asynccontextmanager
    async def connect(self: object) -> AsyncIterator[Connection]:
        yield Connection(tmp_path)

    monkeypatch.setattr(AdbDevice, "connect", connect)
    monkeypatch.setattr(app, "FOLDER", str(tmp_path))
    monkeypatch.setattr(app, "POLL", 0.02)
    (tmp_path / "am").write_text(AM)
    (tmp_path / "am").chmod(stat.S_IRWXU)
    (tmp_path / "pidof").write_text("#!/bin/sh\n")
    (tmp_path / "pidof").chmod(stat.S_IRWXU)
    (tmp_path / "result").write_text(json.dumps(reported_by_app()))
    return tmp_path


def test_starts_the_app_waits_and_fetches_the_result(phone: Path) -> None:
    events = [{"what": what, "done": i, "total": 2} for i, what in enumerate(("opening", "latency"))]
    lines = "".join(
        f"echo '{json.dumps(e)}' > bench-ID.part; mv bench-ID.part bench-ID.progress; sleep 0.3\n" for e in events
    )
    (phone / "app.sh").write_text(f"{lines}cp result bench-ID.part; mv bench-ID.part bench-ID.json")
    seen = Recorder()
    result = measure("app://x", duration=0.5, progress=seen)
    assert seen.updates == [("starting the app", 0, None), ("opening", 0, 2), ("latency", 1, 2)]
    assert result.made.target == "app://x"
    assert result.made.command == "line"
    assert result.conditions[0].thermal_status == 0
    arguments = json.loads((phone / "arguments").read_text())
    extras = dict(zip(arguments[5::3], arguments[6::3], strict=True))
    assert {key: extras[key] for key in ("bench", "model", "rounds", "duration")} == {
        "bench": "true",
        "model": "fuse",
        "rounds": "3",
        "duration": "0.5",
    }
    assert not list(phone.glob("bench-*"))


def test_the_command_writes_and_shows_the_result(phone: Path) -> None:
    (phone / "app.sh").write_text("cp result bench-ID.part; mv bench-ID.part bench-ID.json")
    output = phone / "phone.json"
    for target in (["--target", "app://"], ["--target", "adb://", "--app"]):
        done = CliRunner().invoke(cli, ["bench", "fuse", *target, "--output", str(output)])
        assert done.exit_code == 0, done.output
        assert "fuse-int8.tflite" in done.output
        assert read(output).made.target == "app://"
        output.unlink()


def test_an_error_of_the_app_is_reported(phone: Path) -> None:
    event = json.dumps({"error": "no plan for model bird; this app has fuse"})
    (phone / "app.sh").write_text(f"echo '{event}' > bench-ID.part; mv bench-ID.part bench-ID.progress")
    with pytest.raises(EdgeAscError, match="no plan for model bird"):
        measure(model="bird")


def test_an_app_that_is_not_installed(phone: Path) -> None:
    (phone / "am").write_text("#!/bin/sh\necho 'Error: Activity class does not exist.'\n")
    with pytest.raises(EdgeAscError, match=r"does not exist.*install it: adb install"):
        measure()


def test_an_app_that_reports_nothing(phone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "APP_PROGRESS", 0.1)
    (phone / "app.sh").write_text("true")
    with pytest.raises(TargetLostError, match="check whether the phone is locked"):
        measure()


def test_an_app_that_dies(phone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "APP_START", 0.1)
    (phone / "app.sh").write_text("true")
    (phone / "pidof").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(EdgeAscError, match="ended before it was done"):
        measure()


def test_a_result_that_is_none(phone: Path) -> None:
    (phone / "app.sh").write_text("echo '{}' > bench-ID.part; mv bench-ID.part bench-ID.json")
    with pytest.raises(EdgeAscError, match="not a result"):
        measure()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fuse", "resnet", "--target", "adb://"], "an app takes one model, and no other target beside it"),
        (
            ["fuse", "--target", "adb://", "--target", "adb://x"],
            "an app takes one model, and no other target beside it",
        ),
        (["fuse", "--target", "adb://", "--lengths", "1", "--ssh-config", __file__], "omit --lengths, --ssh-config"),
    ],
)
def test_one_model_and_one_phone_and_nothing_else(phone: Path, arguments: Any, said: str) -> None:
    done = CliRunner().invoke(cli, ["bench", *arguments, "--app"])
    assert done.exit_code == 2
    assert said in re.sub(r"[\s│]+", " ", done.output)


def test_an_app_is_not_a_machine(phone: Path) -> None:
    with pytest.raises(EdgeAscError, match="an application, which has its own models"):
        open_target("app://")
