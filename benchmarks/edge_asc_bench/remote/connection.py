"""Devices and connections to them: the protocols that a new transport implements."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from edge_asc_bench.timeouts import COMMAND


class Finished(NamedTuple):
    """A command that ended: its exit code, and its output."""

    code: int
    output: str
    errors: str

    @property
    def reason(self) -> str:
        """The last line of its output, or its exit code."""
        return last_line(self.errors, self.output) or f"exit code {self.code}"


class Connection(Protocol):
    """An open connection to a device.

    Its methods raise `TargetLostError` when it breaks, or when they take longer than edge_asc_bench.timeouts says.
    """

    async def run(self, command: str, text: str = "", timeout: float = COMMAND) -> Finished:
        """Run a shell command with `text` on its standard input, for `timeout` seconds at most."""
        ...

    def lines(self, command: str) -> AsyncIterator[str]:
        """Yield the lines that a shell command prints, as they come, with `SILENCE` seconds between two at most."""
        ...

    async def put(self, source: Path, target: str) -> None:
        """Copy a file to the device."""
        ...

    async def get(self, source: str, target: Path) -> None:
        """Copy a file from the device."""
        ...


class Device(Protocol):
    """A device that can be connected to."""

    @property
    def name(self) -> str:
        """URL of the target."""
        ...

    @property
    def folder(self) -> str:
        """The folder on the device that holds jobs and environments."""
        ...

    @property
    def makes_environments(self) -> bool:
        """Whether packages are installed there; else its Python must have them."""
        ...

    def connect(self) -> AbstractAsyncContextManager[Connection]:
        """Open a connection.

        Raises:
            EdgeAscError: it cannot be opened, and why.
        """
        ...


def last_line(*texts: str) -> str:
    """Return the last line that is not blank of the first text that is not empty; "" if there is none."""
    lines = [line.strip() for line in next(filter(None, texts), "").splitlines() if line.strip()]
    return lines[-1] if lines else ""
