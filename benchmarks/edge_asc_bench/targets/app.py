"""The Android demo's own benchmark, for phones without Python: `app://[serial]`.

It is started, followed and read over ADB.
"""

from __future__ import annotations

import asyncio
import shlex
import uuid
from dataclasses import dataclass

import msgspec

from edge_asc.errors import EdgeAscError
from edge_asc.progress import Phase
from edge_asc.scratch import scratch_folder
from edge_asc_bench import document
from edge_asc_bench.job import Settings
from edge_asc_bench.remote.connection import Connection
from edge_asc_bench.result import Result, read
from edge_asc_bench.target import TargetKind, TargetLostError
from edge_asc_bench.targets.adb import AdbDevice
from edge_asc_bench.timeouts import APP_PROGRESS, APP_START

PACKAGE = "org.edgeasc.demo"
FOLDER = f"/sdcard/Android/data/{PACKAGE}/files"
POLL = 2.0


@dataclass(frozen=True)
class Report:
    """The app's progress file: a phase and its progress, or an error."""

    what: str = ""
    done: int = 0
    total: int = 1
    error: str = ""


@dataclass(frozen=True)
class DemoApp:
    """The installed demo on a device.

    Attributes:
        device: that adb lists.
    """

    device: AdbDevice

    @property
    def name(self) -> str:
        """The URL that the user gave."""
        return self.device.name

    async def measure(self, model: str, settings: Settings, phase: Phase) -> Result:
        """Measure the app's artefacts of a model; see `AppTarget`."""
        run = uuid.uuid4().hex
        report, result = (f"{FOLDER}/bench-{run}.{suffix}" for suffix in ("progress", "json"))
        async with self.device.connect() as connection:
            await self._start(connection, model, run, settings)
            await self._wait(connection, report, result, settings.duration, phase)
            with scratch_folder() as folder:
                path = folder / "result.json"
                await connection.get(result, path)
                measured = read(path)
            await connection.run(f"rm -f {report} {result}")
        return msgspec.structs.replace(measured, made=msgspec.structs.replace(measured.made, target=self.name))

    async def _start(self, connection: Connection, model: str, run: str, settings: Settings) -> None:
        extras = f"--ez bench true --es model {shlex.quote(model)} --es id {run}"
        extras += f" --ei rounds {settings.rounds} --ef duration {settings.duration:g}"
        started = await connection.run(f"am start -S -n {PACKAGE}/.MainActivity {extras}")
        output = f"{started.output}\n{started.errors}".strip().splitlines() or ["no output"]
        if started.code or any("Error" in line for line in output):
            raise EdgeAscError(
                f"{self.name}: {PACKAGE} cannot be started ({output[-1]}); install it: adb install -r demo-debug.apk, "
                "and unlock the phone"
            )

    async def _wait(self, connection: Connection, report: str, result: str, duration: float, phase: Phase) -> None:
        """Follow the app until its result is there."""
        # One command, and not often: adb's shell runs while times are taken.
        command = f"if test -e {result}; then echo DONE; elif ! pidof {PACKAGE} > /dev/null; then echo DEAD;"
        command += f" else cat {report}; fi"
        quiet, before = 0.0, ""
        while (now := (await connection.run(command)).output.strip()) != "DONE":
            if now == "DEAD" and (before or quiet > APP_START):
                raise EdgeAscError(f"{self.name}: the app ended before it was done; see: adb logcat")
            if now.startswith("{") and now != before:
                state = document.convert_reply(self.name, now, Report)
                if state.error:
                    raise EdgeAscError(f"{self.name}: the app reported: {state.error}")
                phase.update(state.done, state.total, state.what)
                quiet, before = 0.0, now
            if quiet > APP_PROGRESS + duration:
                raise TargetLostError(
                    f"{self.name}: the app reported no progress for {quiet:.0f} s; check whether the phone is locked"
                )
            await asyncio.sleep(POLL)
            quiet += POLL


TARGET = TargetKind(
    scheme="app",
    usage="app://[serial]",
    help="The Android demo that is installed on a phone, with its own models and clips.",
    open_app=lambda url, options: DemoApp(AdbDevice(url, url.partition("://")[2] or None)),
    module="adbutils",
)
