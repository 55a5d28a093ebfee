"""The child's side of `edge_asc.children.run_in_child`: `python -m edge_asc.child`."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from edge_asc.children import ERROR, PROGRESS, RESULT, TRACEBACK, end_with_stdin, read_pickle, write_message
from edge_asc.errors import EdgeAscError
from edge_asc.progress import Phase, Progress


class _Sender:
    """Sends messages to the parent, from any thread."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe, self._lock = pipe, threading.Lock()

    def __call__(self, *message: object) -> None:
        with self._lock:
            write_message(self._pipe, message)


class _RemoteProgress(Progress):
    """Progress of the child, sent to the parent."""

    def __init__(self, send: _Sender) -> None:
        self._send, self._phases = send, 0

    @contextmanager
    def phase(self, title: str, total: float | None = None) -> Iterator[Phase]:
        key = self._phases = self._phases + 1
        self._send(PROGRESS, "open", key, title, total)
        try:
            yield _RemotePhase(self._send, key)
        finally:
            self._send(PROGRESS, "close", key)

    def note(self, text: str) -> None:
        self._send(PROGRESS, "note", text)


class _RemotePhase(Phase):
    def __init__(self, send: _Sender, key: int) -> None:
        self._send, self._key = send, key

    def advance(self, count: float = 1, **figures: float) -> None:
        self._send(PROGRESS, "advance", self._key, count, figures)

    def update(self, done: float, total: float | None = None, title: str = "") -> None:
        self._send(PROGRESS, "update", self._key, done, total, title)


def main() -> None:
    """Call the function that the parent names on stdin, and send its outcome on stdout."""
    send = _Sender(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # a library that prints must not break the protocol
    outcome: tuple[int, object]
    try:
        data = read_pickle(sys.stdin.buffer)
        if data is None:
            return  # the parent has ended
        end_with_stdin()
        function, arguments = pickle.loads(data)
        outcome = RESULT, function(*arguments, _RemoteProgress(send))
    except EdgeAscError as error:
        outcome = ERROR, error
    except Exception:
        outcome = TRACEBACK, traceback.format_exc()
    try:
        send(*outcome)
    except (pickle.PicklingError, AttributeError, TypeError):
        send(TRACEBACK, f"its result cannot be sent: {traceback.format_exc()}")


if __name__ == "__main__":
    main()
