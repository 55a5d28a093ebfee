"""Child processes: a function runs in a fresh process, so that a crash or a lack of memory is an error with a name."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from edge_asc.errors import EdgeAscError
from edge_asc.progress import SILENT, Phase, Progress

T = TypeVar("T")

# Messages of a child: one of these and its values.
RESULT, ERROR, TRACEBACK, PROGRESS = range(4)


class ChildError(EdgeAscError):
    """A child process that crashed, was killed, ran out of time, or raised an unforeseen error."""


def run_in_child(
    function: Callable[..., T],
    *arguments: object,
    name: str = "child",
    timeout: float | None = None,
    progress: Progress = SILENT,
) -> T:
    """Call `function(*arguments, progress)` in a fresh process and return its result.

    The child is started anew (no memory is shared), reports its progress to the caller's, and ends when this process
    ends, however it does.

    Args:
        function: importable by name; its last argument is a `Progress`.
        arguments: can be pickled, as can the result.
        name: of the process, in messages.
        timeout: seconds after which the child is killed; None waits for as long as it takes.
        progress: receives the child's progress.

    Raises:
        EdgeAscError: the one that the function raised.
        ChildError: the child crashed, was killed, ran out of time, or raised another error.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(sender, function, arguments), daemon=True, name=name)
    process.start()
    sender.close()
    try:
        outcome = _receive(receiver, timeout, progress)
    except TimeoutError:
        process.kill()
        raise ChildError(f"the {name} process did not finish within {timeout:g} s and was killed") from None
    except BaseException:
        process.kill()
        raise
    finally:
        receiver.close()
        process.join()
    if outcome is None:
        raise ChildError(f"the {name} process {_describe_exit(process.exitcode)}")
    kind, value = outcome
    if kind == ERROR:
        raise value
    if kind == TRACEBACK:
        raise ChildError(f"the {name} process failed unexpectedly\n{value}")
    result: T = value
    return result


def _receive(receiver: Connection, timeout: float | None, progress: Progress) -> tuple[int, Any] | None:
    """Wait for the outcome of a child and replay its progress; None where it ends without one."""
    deadline = None if timeout is None else time.monotonic() + timeout
    with _Replay(progress) as replay:
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not receiver.poll(left):
                raise TimeoutError
            try:
                kind, *values = receiver.recv()
            except (EOFError, OSError):
                return None
            if kind != PROGRESS:
                return kind, values[0]
            replay(*values)


def _serve(sender: Connection, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
    """Run the function in the child and send its outcome."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        outcome = (RESULT, function(*arguments, _RemoteProgress(sender)))
    except EdgeAscError as error:
        outcome = (ERROR, error)
    except Exception:
        outcome = (TRACEBACK, traceback.format_exc())
    sender.send(outcome)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


class _RemoteProgress(Progress):
    """Progress of the child, sent to the parent."""

    def __init__(self, sender: Connection) -> None:
        self._sender, self._phases = sender, 0

    @contextmanager
    def phase(self, title: str, total: float | None = None) -> Iterator[Phase]:
        key = self._phases = self._phases + 1
        self._sender.send((PROGRESS, "open", key, title, total))
        try:
            yield _RemotePhase(self._sender, key)
        finally:
            self._sender.send((PROGRESS, "close", key))

    def note(self, text: str) -> None:
        self._sender.send((PROGRESS, "note", text))


class _RemotePhase(Phase):
    def __init__(self, sender: Connection, key: int) -> None:
        self._sender, self._key = sender, key

    def advance(self, count: float = 1, **figures: float) -> None:
        self._sender.send((PROGRESS, "advance", self._key, count, figures))

    def update(self, done: float, total: float | None = None, title: str = "") -> None:
        self._sender.send((PROGRESS, "update", self._key, done, total, title))


class _Replay(ExitStack):
    """Repeats a child's progress; phases that it left open end with this."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._phases: dict[int, tuple[ExitStack, Phase]] = {}

    def __call__(self, action: str, *values: Any) -> None:
        match action, values:
            case "note", (text,):
                self._progress.note(text)
            case "open", (key, title, total):
                stack = self.enter_context(ExitStack())
                self._phases[key] = stack, stack.enter_context(self._progress.phase(title, total))
            case "advance", (key, count, figures):
                self._phases[key][1].advance(count, **figures)
            case "update", (key, done, total, title):
                self._phases[key][1].update(done, total, title)
            case "close", (key,):
                self._phases.pop(key)[0].close()


def _describe_exit(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"was ended by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"
    return f"ended with exit code {code} and no error message"
