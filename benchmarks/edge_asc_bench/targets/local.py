"""This machine: `local`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from edge_asc.children import end_child, start_child
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
        with (folder / LOG).open("wb") as log:
            process = start_child("edge_asc_bench.runner", "attend", str(folder), stdout=log, stderr=log)
        try:
            for event in follow(folder, lambda: process.poll() is None):
                if event is None:
                    await asyncio.sleep(POLL)
                else:
                    receive(event)
        finally:
            end_child(process)


TARGET = TargetKind(
    scheme="local",
    usage="local",
    help="This machine.",
    open=lambda url, options: LocalTarget(),
)
