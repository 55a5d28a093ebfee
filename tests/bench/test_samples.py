"""Artefacts that take samples are measured and gated like those that take features: here, over SSH and over ADB."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from artefacts import Artefacts
from edge_asc.cli import cli
from edge_asc.cli.exits import ExitCode
from edge_asc.frontend import LogMel
from edge_asc_bench.inputs import Clips
from edge_asc_bench.job import Settings
from edge_asc_bench.measurement import Benchmark, bench
from edge_asc_bench.remote.connection import Finished
from edge_asc_bench.remote.target import RemoteTarget
from edge_asc_bench.result import Result, read
from edge_asc_bench.target import Target
from edge_asc_bench.targets.adb import AdbDevice
from edge_asc_bench.targets.local import LocalTarget
from sshserver import make_server

QUICK = Settings((1,), rounds=1, warm_up=1, lead=1, burst=3)
NAMES = ("step-int8.tflite", "step-samples.tflite", "step-int16.tflite")


class Shell:
    """A connection to a phone that is this machine's shell, in place of adbd."""

    async def run(self, command: str, text: str = "", timeout: float = 0.0) -> Finished:
        done = await asyncio.to_thread(
            subprocess.run, ["sh", "-c", command], input=text, capture_output=True, text=True, check=False
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    async def lines(self, command: str) -> AsyncIterator[str]:
        process = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        async for line in process.stdout:
            yield line.decode().rstrip("\n")
        await process.wait()

    async def put(self, source: Path, target: str) -> None:
        shutil.copy(source, target)

    async def get(self, source: str, target: Path) -> None:
        shutil.copy(source, target)


@pytest.fixture(params=["ssh", "adb"])
def target(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    if request.param == "ssh":
        (tmp_path / "ssh").mkdir()
        server = make_server(tmp_path / "ssh")
        server.start()
        yield server.target()
        server.stop()
        return

    @asynccontextmanager
    async def connect(self: object) -> AsyncIterator[Shell]:
        yield Shell()

    monkeypatch.setattr(AdbDevice, "connect", connect)
    yield RemoteTarget(AdbDevice("adb://x", "x", str(tmp_path / "phone")), sys.executable)


def clips(artefacts: Artefacts) -> Clips:
    """Noise, as samples and as the features of them."""
    noise = [np.random.default_rng(i).normal(0, 0.1, 16000).astype(np.float32) for i in range(2)]
    features = [LogMel(artefacts.causal.front_end.raw)(samples) for samples in noise]
    return Clips("noise", features, (), (), "digest", noise)


def test_a_device_measures_what_this_machine_measures(artefacts: Artefacts, target: Target, tmp_path: Path) -> None:
    models = [("torch", artefacts.steps["torch"]), *((name, artefacts.folder / name) for name in NAMES)]
    there, here = bench(Benchmark(models, clips(artefacts), QUICK), [target, LocalTarget()])
    assert there.complete
    _, features, *samples = there.variants
    assert features.latency["step"].front_end is not None
    for variant, local in zip(samples, here.variants[2:], strict=True):
        assert variant.latency["step"].front_end is None, "it is a part of the model"
        assert variant.agreement == local.agreement
        assert variant.agreement is not None
        assert variant.agreement.share > 0.5
    check(there, tmp_path)


def check(result: Result, folder: Path) -> None:
    """The gate: the result holds against itself, and not against a smaller artefact that takes samples."""
    config = folder / "edge-asc.toml"
    config.write_text('[gate]\ntimings = "off"\n')
    paths = folder / "result.json", folder / "baseline.json"
    smaller = tuple(
        replace(variant, bytes=variant.bytes // 2) if variant.name == "step-int16.tflite" else variant
        for variant in result.variants
    )
    for variants, holds in ((result.variants, True), (smaller, False)):
        documents = result, replace(result, variants=variants)
        for path, document in zip(paths, documents, strict=True):
            path.write_text(json.dumps(document.to_json()))
            assert read(path) == document
        arguments = ["check", str(paths[0]), "--baseline", str(paths[1]), "--config", str(config)]
        if holds:
            cli.main(arguments, standalone_mode=False)
        else:
            with pytest.raises(SystemExit) as caught:
                cli.main(arguments, standalone_mode=False)
            assert caught.value.code == ExitCode.CHECK_FAILED
