"""Processes that prepare batches: how they start, and that they end with the training."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext, SpawnContext, SpawnProcess
from typing import Any

# Between two looks for the parent, s.
POLL = 0.5


def make_context() -> BaseContext:
    """Return how the processes start: as copies of this one on Linux, elsewhere anew and isolated."""
    return multiprocessing.get_context("fork") if sys.platform == "linux" else IsolatedContext()


class IsolatedProcess(SpawnProcess):
    """A process that neither runs the user's main module nor imports from the working folder."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802  # overrides multiprocessing's
        with hide_main():
            return SpawnProcess._Popen(process_obj)


class IsolatedContext(SpawnContext):
    """Starts processes that are isolated; see `edge_asc.children`."""

    Process = IsolatedProcess


@contextmanager
def hide_main() -> Iterator[None]:
    """Hide the main module from what is started in the block, and keep it from importing from the working folder."""
    main, safe = sys.modules["__main__"], os.environ.get("PYTHONSAFEPATH")
    sys.modules["__main__"] = types.ModuleType("__main__")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        if safe is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = safe


def end_with_parent(_: int = 0) -> None:
    """End this process when its parent has ended; a worker of a `DataLoader` calls it with its number."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch(process: int | None) -> None:
        while os.getppid() == process:
            time.sleep(POLL)
        os._exit(1)

    if sys.platform != "win32":  # there the loader's own watch has to do
        threading.Thread(target=watch, args=(parent.pid,), daemon=True).start()
