"""Does a job on the machine it runs on: `python -m edge_asc_bench.runner run|start|follow|stop FOLDER`.

It needs Python alone, and its workers numpy and the runtimes of the models. What it finds is appended to a file in the
job's folder, a JSON object a line, so that it goes on when nobody listens and is read from any line.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_asc.errors import EdgeAscError
from edge_asc_bench.job import AUDIO, EVENTS, FEATURES, LOCK, LOG, Job, Settings, Task
from edge_asc_bench.machine import conditions, describe

SAMPLING = 1.0
POLL = 0.1
HEARTBEAT = 5.0
LAST = ("done", "error")

Tell = Callable[..., None]


class Process:
    """A worker: one model in a process of its own."""

    def __init__(self, task: Task, folder: Path, threads: int) -> None:
        """Start it and let it open its model.

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
            self.opened = self.ask(
                do="open",
                path=str(folder / task.file),
                threads=threads,
                seconds=task.seconds,
                audio=str(folder / AUDIO),
            )
        except BaseException:
            self.close()
            raise

    def ask(self, **command: Any) -> dict[str, Any]:
        """Send a command and wait for the answer.

        Raises:
            EdgeAscError: the worker says so, or its process ended.
        """
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._process.wait()
            raise EdgeAscError(f"{self.task.name}: its process ended with exit code {code}; nothing was measured")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise EdgeAscError(f"{self.task.name}: {reply['error']}")
        return reply

    def close(self) -> None:
        """End the process."""
        if self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        if self._process.stdout:
            self._process.stdout.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Sampler:
    """Tells the machine's conditions, at most once a second."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._begun, self._next = tell, time.monotonic(), 0.0

    def sample(self, phase: str, *, always: bool = False) -> None:
        elapsed = time.monotonic() - self._begun
        if always or elapsed >= self._next:
            self._tell("conditions", at=round(elapsed, 2), phase=phase, **conditions())
            self._next = elapsed + SAMPLING


def run(folder: Path, tell: Tell) -> None:
    """Do the job in `folder` and tell what is found.

    Raises:
        EdgeAscError: a model cannot be opened, or its process ended.
    """
    job = Job.read(folder)
    settings = job.settings
    tell("machine", **describe())
    sampler = _Sampler(tell)
    sampler.sample("before", always=True)
    with ExitStack() as stack:
        workers = []
        for i, task in enumerate(job.tasks):
            tell("progress", what="opening", done=i, total=len(job.tasks))
            workers.append(stack.enter_context(_process(task, folder, settings.threads)))
            tell("opened", task=i, **workers[-1].opened)
        for worker in workers:
            worker.ask(do="run", count=settings.warm_up if worker.task.seconds is None else 2)
        for done in range(settings.rounds):
            tell("progress", what="latency", done=done, total=settings.rounds)
            sampler.sample("latency")
            for i, worker in enumerate(workers):
                count = settings.burst if worker.task.seconds is None else settings.window_burst
                worker.ask(do="run", count=settings.lead)
                tell("times", task=i, **worker.ask(do="run", count=count))
        sampler.sample("after latency", always=True)
        for i, worker in enumerate(workers):
            if settings.duration:
                tell("progress", what=f"sustained: {worker.task.name}", done=i, total=len(workers))
                tell("sustained", task=i, **_sustained(worker, settings, sampler))
        for i, worker in enumerate(workers):
            tell("memory", task=i, **worker.ask(do="memory"))
        for i, worker in enumerate(workers):
            tell("progress", what="accuracy", done=i, total=len(workers))
            output = f"logits-{i}.npy"
            paths = {"features": str(folder / FEATURES), "output": str(folder / output)}
            tell("logits", task=i, file=output, **worker.ask(do="hear", frames=job.frames, **paths))
    sampler.sample("after", always=True)


def _sustained(worker: Process, settings: Settings, sampler: _Sampler) -> dict[str, Any]:
    """Run without a pause: the median of each burst, ms; decisions; and what was resident before and after, bytes."""
    medians: list[float] = []
    count = settings.burst if worker.task.seconds is None else 2
    worker.ask(do="run", count=count)
    before = worker.ask(do="memory")["now"]
    end = time.monotonic() + settings.duration
    while time.monotonic() < end or len(medians) < 10:
        found = worker.ask(do="run", count=count)
        times = sorted(map(sum, zip(found["front_end"] or [0] * count, found["model"], strict=True)))
        medians.append(times[len(times) // 2] / 1e6)
        sampler.sample("sustained")
    resident = [before, worker.ask(do="memory")["now"]]
    return {"medians": medians, "decisions": count * len(medians), "resident": resident}


@contextmanager
def _process(task: Task, folder: Path, threads: int) -> Iterator[Process]:
    process = Process(task, folder, threads)
    try:
        yield process
    finally:
        process.close()


def follow(folder: Path, alive: Callable[[], bool], run: str = "", first: int = 0) -> Iterator[dict[str, Any] | None]:
    """What a run tells, as it comes; None while there is nothing new.

    Begins after `first` events if they were of this `run`, else with the first one, which names the run. Ends after
    "done" or "error"; a run that died is such an error.
    """
    while not (folder / EVENTS).exists():
        if not alive():
            yield _died(folder)
            return
        yield None
    with (folder / EVENTS).open() as file:
        number, rest = 0, ""
        while True:
            living = alive()  # before reading: what a run wrote last is still read
            line = file.readline()
            if not line.endswith("\n"):
                rest += line
                if not line and not living:
                    yield _died(folder)
                    return
                yield None
                continue
            event = json.loads(rest + line)
            rest, number, last = "", number + 1, event["event"] in LAST
            if event["event"] == "run" and event["id"] != run:
                first = 0
            if number > first:
                yield event
            if last:
                return


def _died(folder: Path) -> dict[str, Any]:
    try:
        said = (folder / LOG).read_text(errors="replace").strip().splitlines()
    except OSError:
        said = []
    return {"event": "error", "message": f"the runner ended before it was done{': ' + said[-1] if said else ''}"}


def runs(folder: Path) -> bool:
    """A process does the job now: it holds the lock as long as it lives, whatever ends it."""
    try:
        with (folder / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _run(folder: Path) -> None:
    """Do the job, and write what is found to its folder."""
    with (folder / EVENTS).open("w") as file:

        def tell(event: str, **values: Any) -> None:
            file.write(json.dumps({"event": event, **values}) + "\n")
            file.flush()

        tell("run", id=uuid.uuid4().hex, at=datetime.now(UTC).isoformat(timespec="seconds"))
        try:
            run(folder, tell)
        except (EdgeAscError, OSError) as error:
            tell("error", message=str(error))
        else:
            tell("done")


def _start(folder: Path) -> None:
    """Have the job done by a process that outlives this one, unless it is done or one is at it."""
    if _is_done(folder):
        return
    with (folder / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        (folder / EVENTS).unlink(missing_ok=True)
        command = [sys.executable, "-m", "edge_asc_bench.runner", "run", str(folder)]
        with (folder / LOG).open("w") as log:
            # It inherits the lock: there is no moment at which nobody holds it.
            started = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                pass_fds=(lock.fileno(),),
            )
        lock.truncate(0)
        lock.write(str(started.pid))


def _is_done(folder: Path) -> bool:
    try:
        last = (folder / EVENTS).read_text().splitlines()[-1]
        return bool(json.loads(last)["event"] == "done")
    except (OSError, IndexError, ValueError):
        return False


def _follow(folder: Path, run: str, first: int) -> None:
    """Print events; an empty line now and then, so that a listener that is gone is noticed."""
    quiet = 0.0
    for event in follow(folder, lambda: runs(folder), run, first):
        if event is None:
            time.sleep(POLL)
            quiet += POLL
            if quiet >= HEARTBEAT:
                print(flush=True)
                quiet = 0.0
        else:
            print(json.dumps(event), flush=True)


def _stop(folder: Path) -> None:
    if runs(folder):
        with suppress(ProcessLookupError, ValueError):
            os.killpg(int((folder / LOCK).read_text()), signal.SIGTERM)


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    action, folder, *rest = arguments
    path = Path(folder)
    if action == "follow":
        run, first = rest
        with suppress(BrokenPipeError):
            _follow(path, run, int(first))
    else:
        {"run": _run, "start": _start, "stop": _stop}[action](path)


if __name__ == "__main__":
    main(sys.argv[1:])
