"""This machine."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge_asc_bench.job import LOG, Job
from edge_asc_bench.runner import POLL, follow


class LocalTarget:
    """Does a job in a process on this machine."""

    name = "local"
    runs_torch = True

    async def run(self, folder: Path, job: Job, digest: str, tell: Callable[[dict[str, Any]], None]) -> None:
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
                    tell(event)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)  # its workers, too
            await process.wait()
