"""A worker process, from the runner's side: one model in a process of its own."""

from __future__ import annotations

import queue
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

from edge_asc.children import end_child, start_child
from edge_asc.errors import EdgeAscError
from edge_asc_bench.events import Event, Failed, Open, Opened, Request, decode_event, encode
from edge_asc_bench.job import AUDIO, Task
from edge_asc_bench.timeouts import WORKER_END, WORKER_REPLY

Reply = TypeVar("Reply", bound=Event)


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
        self._process = start_child("edge_asc_bench.worker", in_group=True, stdout=subprocess.PIPE)
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        assert self._process.stdout
        threading.Thread(target=_read_lines, args=(self._process.stdout, self._lines), daemon=True).start()
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

    def ask(self, request: Request, kind: type[Reply], timeout: float = WORKER_REPLY) -> Reply:
        """Send a request and wait for its reply.

        Args:
            request: to send.
            kind: of the reply.
            timeout: longest wait, s.

        Raises:
            EdgeAscError: the worker replies that it failed, its process ended, or it does not reply in time.
        """
        assert self._process.stdin
        with suppress(OSError):  # a worker that has ended is noticed by its exit code
            self._process.stdin.write(encode(request).encode() + b"\n")
            self._process.stdin.flush()
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            end_child(self._process)
            raise EdgeAscError(
                f"{self.task.name}: no reply to {type(request).__name__} for {timeout:g} s; its process was ended"
            ) from None
        if not line:
            code = end_child(self._process, patience=WORKER_END)
            raise EdgeAscError(f"{self.task.name}: its process ended with exit code {code}; nothing was measured")
        reply = decode_event(line.decode())
        if isinstance(reply, Failed):
            raise EdgeAscError(f"{self.task.name}: {reply.message}")
        assert isinstance(reply, kind)
        return reply

    def close(self) -> None:
        """End the process."""
        if self._process.stdin:
            with suppress(OSError):
                self._process.stdin.close()
        end_child(self._process, patience=WORKER_END)


def _read_lines(pipe: IO[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    """Queue the lines of a worker, and an empty one at its end."""
    with suppress(OSError, ValueError):
        for line in pipe:
            lines.put(line)
    lines.put(b"")
