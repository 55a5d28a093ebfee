"""Devices whose login has an unusual home folder or settings: a shell of this machine stands for each."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from artefacts import Artefacts, clips
from edge_asc_bench.inputs import Clips
from edge_asc_bench.job import Settings
from edge_asc_bench.measurement import Benchmark, bench
from edge_asc_bench.remote.connection import Finished
from edge_asc_bench.remote.target import RemoteTarget

if os.name != "posix":
    pytest.skip("the shell of a device is a POSIX shell", allow_module_level=True)

QUICK = Settings((1,), rounds=1, warm_up=1, lead=1, burst=2)


@dataclass(frozen=True)
class Shell:
    """A device, and the connection to it: commands run in a shell here, as sshd runs them."""

    home: Path
    variables: dict[str, str]
    name: str = "shell"
    folder: str = "~/.cache/edge-asc"
    makes_environments: bool = True

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Shell]:
        yield self

    def _start(self, command: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "HOME": str(self.home), **self.variables}
        return subprocess.Popen(
            ["sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.home,
            env=environment,
            encoding="utf-8",
            start_new_session=True,
        )

    async def run(self, command: str, text: str = "", timeout: float = 0.0) -> Finished:
        with self._start(command) as process:
            output, errors = await asyncio.to_thread(process.communicate, text)
        return Finished(process.returncode, output, errors)

    async def lines(self, command: str) -> AsyncIterator[str]:
        with self._start(command) as process:
            assert process.stdout is not None
            try:
                while line := await asyncio.to_thread(process.stdout.readline):
                    yield line
            finally:
                os.killpg(process.pid, signal.SIGKILL)

    async def put(self, source: Path, target: str) -> None:
        shutil.copy(source, target)

    async def get(self, source: str, target: Path) -> None:
        shutil.copy(source, target)


# What a shell would split, expand or take for an option, and letters beyond ASCII in a locale without any.
HOME = '-n Zoë\'s "家" $HOME; `x` & more #1'
VARIABLES = {"PIP_USER": "1", "PIP_TARGET": "/nowhere", "PYTHONPATH": "/nowhere", "PYTHONUTF8": "0", "LC_ALL": "C"}


def test_a_home_with_any_name_and_settings_of_pip_change_nothing(artefacts: Artefacts, tmp_path: Path) -> None:
    home = tmp_path / HOME
    home.mkdir()
    (home / "json.py").write_text("raise SystemExit('a file of the user was imported')")
    model = ("int8", artefacts.folder / "step-int8.tflite")
    target = RemoteTarget(Shell(home, VARIABLES), sys.executable)
    (result,) = bench(Benchmark([model], Clips("noise", clips(2, 24), (), (), ""), QUICK), [target])
    assert result.complete
    assert result.variants[0].latency
    assert list(tmp_path.iterdir()) == [home], "nothing lies beside the home folder"
    assert not (home / ".local").exists(), "pip has installed for the user"
    assert list((home / ".cache/edge-asc/jobs").iterdir()) == []
