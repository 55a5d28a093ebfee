"""Executors of trainings: processes on this machine, or a Ray cluster."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar

from edge_asc.errors import EdgeAscError, require

P = ParamSpec("P")
R = TypeVar("R")


class Submit(Protocol):
    """Starts a function somewhere, and returns its future result."""

    def __call__(self, function: Callable[P, R], /, *arguments: P.args, **keywords: P.kwargs) -> Future[R]:
        """Start a function."""
        ...


class Executor(Protocol):
    """Somewhere to run trainings."""

    def start(self, threads: int, *, gpu: bool) -> AbstractContextManager[Submit]:
        """Start the executor; it ends with the `with` block, and on an error stops what runs.

        Args:
            threads: of each training.
            gpu: whether a training may use a GPU.
        """
        ...


@dataclass(frozen=True)
class LocalExecutor:
    """Processes on this machine.

    Attributes:
        jobs: number of trainings at a time.
    """

    jobs: int = 1

    @contextmanager
    def start(self, threads: int, *, gpu: bool) -> Iterator[Submit]:
        """Start the processes; see `Executor`."""
        context = multiprocessing.get_context("spawn")
        executor = ProcessPoolExecutor(self.jobs, mp_context=context, initializer=_begin)
        try:
            yield executor.submit
            executor.shutdown()
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _begin() -> None:
    """Leave Ctrl-C to the parent process, and end when that has ended: files are written whole."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow(sentinel: int) -> None:
        multiprocessing.connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=follow, args=(parent.sentinel,), daemon=True).start()


@dataclass(frozen=True)
class RayExecutor:
    """The Ray cluster at RAY_ADDRESS, or one on this machine.

    Attributes:
        gpus: share of a GPU for each training; None for a whole one where the cluster has any.
    """

    gpus: float | None = None

    @contextmanager
    def start(self, threads: int, *, gpu: bool) -> Iterator[Submit]:
        """Connect to the cluster; see `Executor`.

        Raises:
            EdgeAscError: the cluster has too few processors or GPUs.
            MissingExtraError: Ray is not installed.
        """
        ray = require("ray", "ray")
        own = not ray.is_initialized()
        if own:
            ray.init(include_dashboard=False, logging_level="ERROR", log_to_driver=False)
        tasks = []

        def submit(function: Callable[P, R], /, *arguments: P.args, **keywords: P.kwargs) -> Future[R]:
            tasks.append(remote(function).remote(*arguments, **keywords))
            future: Future[R] = tasks[-1].future()
            return future

        try:
            resources = ray.cluster_resources()
            share = self.gpus if self.gpus is not None else float(resources.get("GPU", 0) >= 1 and gpu)
            for name, needed in (("CPU", threads), ("GPU", share)):
                if needed > resources.get(name, 0):
                    raise EdgeAscError(
                        f"a training asks for {needed:g} {name} and the Ray cluster has {resources.get(name, 0):g}; "
                        "lower --threads or --gpus, or add machines"
                    )
            remote = ray.remote(num_cpus=threads, num_gpus=share, max_retries=0)
            yield submit
        except BaseException:
            for task in tasks:
                ray.cancel(task, force=True)
            raise
        finally:
            if own:
                ray.shutdown()


def describe_error(error: Exception) -> str:
    """Return the message of an error of a training, without what Ray wraps around it."""
    cause = getattr(error, "cause", error)
    return str(cause) if isinstance(cause, EdgeAscError) else repr(cause)
