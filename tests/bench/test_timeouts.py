"""Every wait has a limit, which the documentation lists."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from edge_asc import children, files, tool
from edge_asc.reproduction import grid
from edge_asc_bench import machine, timeouts
from edge_asc_bench.remote.session import CLEAN
from edge_asc_bench.remote.target import RETRIES
from edge_asc_bench.target import TargetLostError
from edge_asc_bench.targets import ssh
from edge_asc_export import bundle

TABLE = (Path(__file__).parents[2] / "docs/protocol.md").read_text().partition("## Limits of every wait")[2]


@pytest.mark.parametrize(
    ("row", "limits"),
    [
        ("connection to a device", [timeouts.CONNECT]),
        ("attempts to connect", [len(RETRIES), *RETRIES]),
        ("command on a device", [timeouts.COMMAND]),
        ("environment on a device", [timeouts.ENVIRONMENT]),
        ("packages on a device", [timeouts.INSTALL]),
        ("file to a device", [timeouts.COPY, 1, 1 / timeouts.COPY_PER_BYTE / 1000]),
        ("file from a device", [timeouts.INSTALL, timeouts.SILENCE]),
        ("event or heartbeat", [timeouts.HEARTBEAT, timeouts.SILENCE]),
        ("what is left on a device", [timeouts.ABANDON]),
        ("reply of a worker", [timeouts.WORKER_REPLY, timeouts.EVALUATION_PER_FRAME]),
        ("end of a worker", [timeouts.WORKER_END]),
        ("end of a worker", [children.END_TIMEOUT]),
        ("reading of a Raspberry", [timeouts.FIRMWARE]),
        ("start of the app", [timeouts.APP_START]),
        ("progress of the app", [timeouts.APP_PROGRESS]),
        ("export ", [bundle.TIMEOUT]),
        ("external program", [tool.TIMEOUT]),
        ("lock of a cache", [files.LOCK_TIMEOUT]),
        ("same training", [grid.TRAINING_TIMEOUT / 86400]),
    ],
)
def test_the_table_of_limits_is_right(row: str, limits: list[float]) -> None:
    (line,) = [line for line in TABLE.splitlines() if line.startswith(f"| {row}")]
    numbers = [float(text) for text in re.findall(r"\d+(?:\.\d+)?", " ".join(line.split("|")[1:3]))]
    assert numbers == pytest.approx(limits)


class Silent:
    """A connection, and a process on it, that never reply."""

    stdout = property(lambda self: self)

    async def wait(self, *_: Any, **__: Any) -> Any:
        await asyncio.sleep(3600)

    run = readline = wait

    def create_process(self, *_: Any, **__: Any) -> "Silent":
        return self

    async def __aenter__(self) -> "Silent":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


def test_a_device_that_hangs_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    connection: Any = ssh._SshConnection("ssh://board", Silent())  # type: ignore[arg-type]
    monkeypatch.setattr(ssh, "SILENCE", 0.01)

    async def follow() -> None:
        async for _ in connection.lines("follow"):
            pass

    with pytest.raises(TargetLostError, match=r"a command did not end within 0\.01 s"):
        asyncio.run(connection.run("python3 -", timeout=0.01))
    with pytest.raises(TargetLostError, match=r"it sent nothing for 0\.01 s"):
        asyncio.run(follow())


def test_a_firmware_that_hangs_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "vcgencmd"
    program.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/log\nsleep 600\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(machine, "FIRMWARE", 3.0)
    assert machine.read_condition().throttling is None
    assert machine.read_condition().throttling is None
    assert (tmp_path / "log").read_text() == "asked\n"


def test_a_login_cannot_move_what_pip_installs() -> None:
    for name in ("PIP_USER", "PIP_TARGET", "PYTHONPATH", "PYTHONHOME"):
        assert f"-u {name}" in CLEAN
    assert "INDEX_URL" not in CLEAN
