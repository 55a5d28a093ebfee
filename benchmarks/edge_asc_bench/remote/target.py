"""A target that is a device: its job continues when the connection breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from edge_asc.errors import EdgeAscError
from edge_asc_bench.events import Event, Progressed
from edge_asc_bench.job import Job
from edge_asc_bench.remote.connection import Device
from edge_asc_bench.remote.session import JobState, RemoteSettings, Session
from edge_asc_bench.target import TargetLostError
from edge_asc_bench.timeouts import ABANDON

# Pauses before each new attempt to connect, s.
RETRIES = (1.0, 3.0, 10.0)


@dataclass(frozen=True)
class RemoteTarget:
    """Does jobs on a device.

    The runner and the light package are copied there as one file. Packages from an index are installed into an
    environment of their own, which is kept for the next time; for a device without a network, they are downloaded here
    and copied. The job continues there when the connection breaks: this call resumes it, or the next one.

    Attributes:
        device: that does them.
        python: the command that starts Python there.
        runs_torch: measure checkpoints there, too, which needs PyTorch there.
        clean: remove the environment afterwards; the job is always removed.
    """

    device: Device
    python: str = "python3"
    runs_torch: bool = False
    clean: bool = False

    @property
    def name(self) -> str:
        """The URL that the user gave."""
        return self.device.name

    async def run(self, folder: Path, job: Job, digest: str, receive: Callable[[Event], None]) -> None:
        """Do the job in `folder`; see `Target`."""
        state, losses = JobState(), 0
        while True:
            before = state.received
            try:
                await self._attempt(folder, job, digest, receive, state)
                return
            except TargetLostError as error:
                if not state.connected:
                    raise EdgeAscError(str(error)) from error
                losses = 1 if state.received > before else losses + 1
                if losses > len(RETRIES) and state.leftovers is not None:
                    return  # all results are here; the device only keeps a folder
                if losses > len(RETRIES):
                    raise TargetLostError(
                        f"{error}; the run may continue there: the same command resumes it"
                    ) from error
                receive(Progressed("connection lost, trying again"))
                await asyncio.sleep(RETRIES[losses - 1])

    async def _attempt(
        self, folder: Path, job: Job, digest: str, receive: Callable[[Event], None], state: JobState
    ) -> None:
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(self.device.connect())
            except EdgeAscError as error:
                if state.connected:  # a device that starts again refuses at first
                    raise TargetLostError(str(error)) from error
                raise
            state.connected = True
            session = Session(RemoteSettings(self.device, self.python, self.clean), connection, job, receive)
            try:
                if state.leftovers is None:
                    await session.prepare(folder, digest)
                    if not state.done:
                        async for event in session.events(state):
                            receive(event)
                        state.done = True
                    await session.fetch(folder)
                    state.leftovers = session.leftovers()
                await session.remove(state.leftovers)
            except asyncio.CancelledError:
                with suppress(Exception):
                    await asyncio.wait_for(asyncio.shield(session.abandon()), ABANDON)
                raise
