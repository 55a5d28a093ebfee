"""This machine: `local`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edge_asc_bench.events import Event
from edge_asc_bench.job import LOG, Job
from edge_asc_bench.runner import POLL, follow
from edge_asc_bench.target import TargetKind


class LocalTarget:
    """Does a job in a process on this machine."""

    name = "local"
    runs_torch = True

    async def run(self, folder: Path, job: Job, digest: str, receive: Callable[[Event], None]) -> None:
        """Do the job in `folder`; see `Target`."""
        with (folder / LOG).open("w") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "edge_asc_bench.runner", "run", str(folder)),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            for event in follow(folder, lambda: process.returncode is None):
                if event is None:
                    await asyncio.sleep(POLL)
                else:
                    receive(event)
        finally:
            _end(process)
            await process.wait()


def _end(process: asyncio.subprocess.Process) -> None:
    """End a runner and its workers."""
    with suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGTERM)
        else:  # Windows: a worker ends when its input does
            process.terminate()


TARGET = TargetKind(
    scheme="local",
    usage="local",
    help="This machine.",
    open=lambda url, options: LocalTarget(),
)
