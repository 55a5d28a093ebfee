"""Executors of trainings: processes on this machine, or a Ray cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar

from edge_asc.children import Child
from edge_asc.errors import EdgeAscError, require
from edge_asc.progress import SILENT, Progress

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
        """Start the executor; see `Executor`. Each training has a process of its own, which ends with this one."""
        children = _Children()
        with ThreadPoolExecutor(self.jobs) as threads_here:

            def submit(function: Callable[P, R], /, *arguments: P.args, **keywords: P.kwargs) -> Future[R]:
                assert not keywords
                return threads_here.submit(children.run, function, arguments)

            try:
                yield submit
            except BaseException:
                threads_here.shutdown(wait=False, cancel_futures=True)
                children.kill()
                raise


class _Children:
    """Running children; all are killed together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[Child] = set()
        self._killed = False

    def run(self, function: Callable[..., R], arguments: tuple[object, ...]) -> R:
        """Call a function in a child.

        Raises:
            ChildError: the child crashed, or was killed.
        """
        with self._lock:
            if self._killed:
                raise EdgeAscError("interrupted")
            child = Child(call, (function, arguments), "training")
            self._running.add(child)
        try:
            with child:
                result: R = child.receive(None, SILENT)
                return result
        finally:
            with self._lock:
                self._running.discard(child)

    def kill(self) -> None:
        """Kill all children; those that are started later end with an error."""
        with self._lock:
            self._killed = True
            for child in self._running:
                child.kill()


def call(function: Callable[..., R], arguments: tuple[object, ...], progress: Progress) -> R:
    """Call a function that reports no progress, in a child."""
    return function(*arguments)


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
