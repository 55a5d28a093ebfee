"""The Android demo's own benchmark, for phones without Python: started, waited for and fetched over ADB."""

from __future__ import annotations

import asyncio
import json
import shlex
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_asc.errors import EdgeAscError, require
from edge_asc_bench.result import read
from edge_asc_bench.targets import TargetLostError
from edge_asc_bench.targets.adb import AdbDevice

PACKAGE = "org.edgeasc.demo"
FOLDER = f"/sdcard/Android/data/{PACKAGE}/files"
POLL = 2.0
# Android may take its time to start an app; what it does then takes no longer from one message to the next.
START, PATIENCE = 20.0, 120.0


def bench_app(
    target: str,
    model: str,
    *,
    rounds: int,
    duration: float,
    command: str = "",
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Measure the app's artefacts of a model, on the phone of a target; its result, checked.

    Args:
        target: "adb://[serial]".
        model: one that the app has, such as "fuse".
        rounds: turns of each artefact.
        duration: s that each runs without a pause, afterwards; 0 for not at all.
        command: that measures the same again, for the record.
        progress: told what is done, and how far.

    Raises:
        EdgeAscError: no such target, the app is not installed or refuses, or its result is not what it should be.
        TargetLostError: the connection broke, or the app told nothing for too long.
        MissingExtraError: adbutils is not installed.
    """
    kind, _, serial = target.partition("://")
    if kind != "adb":
        raise EdgeAscError(f"{target}: the app is on a phone; expected adb://[serial]")
    require("adbutils", "bench")
    return asyncio.run(_bench(AdbDevice(target, serial or None), model, rounds, duration, command, progress))


async def _bench(
    device: AdbDevice,
    model: str,
    rounds: int,
    duration: float,
    command: str,
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    run = uuid.uuid4().hex
    told, result = (f"{FOLDER}/bench-{run}.{suffix}" for suffix in ("progress", "json"))
    extras = (
        f"--ez bench true --es model {shlex.quote(model)} --es id {run} --ei rounds {rounds} --ef duration {duration:g}"
    )
    async with device.connect() as connection:
        started = await connection.run(f"am start -S -n {PACKAGE}/.MainActivity {extras}")
        said = f"{started.output}\n{started.errors}".strip().splitlines() or ["nothing said"]
        if started.code or any("Error" in line for line in said):
            raise EdgeAscError(
                f"{device.name}: {PACKAGE} cannot be started ({said[-1]}); install it: adb install -r demo-debug.apk, "
                "and unlock the phone"
            )
        # One command, and not often: what adb's shell does is done while times are taken.
        look = f"if test -e {result}; then echo DONE; elif ! pidof {PACKAGE} > /dev/null; then echo DEAD;"
        look += f" else cat {told}; fi"
        quiet, before = 0.0, ""
        while (now := (await connection.run(look)).output.strip()) != "DONE":
            if now == "DEAD" and (before or quiet > START):
                raise EdgeAscError(f"{device.name}: the app ended before it was done; see: adb logcat")
            if now.startswith("{") and now != before:
                event = json.loads(now)
                if "error" in event:
                    raise EdgeAscError(f"{device.name}: the app says: {event['error']}")
                progress(event["what"], event["done"], event["total"])
                quiet, before = 0.0, now
            if quiet > PATIENCE + duration:
                raise TargetLostError(f"{device.name}: the app told nothing for {quiet:.0f} s; is the phone locked?")
            await asyncio.sleep(POLL)
            quiet += POLL
        with tempfile.TemporaryDirectory(prefix="edge-asc-") as folder:
            path = Path(folder) / "result.json"
            await connection.get(result, path)
            found = read(path)
        await connection.run(f"rm -f {told} {result}")
    found["made"] |= {"target": device.name, "command": command}
    return found
