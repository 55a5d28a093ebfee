"""A worker process, from the runner's side: one model in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from edge_asc.errors import EdgeAscError
from edge_asc_bench.events import Event, Failed, Open, Opened, Request, decode_event, encode
from edge_asc_bench.job import AUDIO, Task

Reply = TypeVar("Reply", bound=Event)

TIMEOUT = 10.0


class WorkerProcess:
    """A worker that has opened a model.

    Attributes:
        task: that it does.
        opened: its reply to the request to open the model.
    """

    def __init__(self, index: int, task: Task, folder: Path, threads: int) -> None:
        """Start a worker and have it open the model of a task in a job's folder.

        Raises:
            EdgeAscError: the model cannot be opened, or the process ended.
        """
        self.task = task
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edge_asc_bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            request = Open(index, str(folder / task.file), threads, task.seconds, str(folder / AUDIO))
            self.opened = self.ask(request, Opened)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, request: Request, kind: type[Reply]) -> Reply:
        """Send a request and wait for its reply.

        Raises:
            EdgeAscError: the worker replies that it failed, or its process ended.
        """
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(encode(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._process.wait()
            raise EdgeAscError(f"{self.task.name}: its process ended with exit code {code}; nothing was measured")
        reply = decode_event(line)
        if isinstance(reply, Failed):
            raise EdgeAscError(f"{self.task.name}: {reply.message}")
        assert isinstance(reply, kind)
        return reply

    def close(self) -> None:
        """End the process."""
        if self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        if self._process.stdout:
            self._process.stdout.close()
        try:
            self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
