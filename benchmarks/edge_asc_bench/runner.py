"""Does a job on the machine it runs on: `python -m edge_asc_bench.runner attend|run|start|follow|stop FOLDER`.

It needs Python alone; its workers need numpy and the engines of the models. Events are appended to a file in the job's
folder, so that a run continues without a listener, and a listener can start at any event.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

from edge_asc.children import end_with_stdin, make_command, make_environment
from edge_asc.errors import EdgeAscError
from edge_asc.files import try_lock
from edge_asc_bench.events import (
    ConditionsRead,
    Decide,
    Done,
    Evaluate,
    Event,
    Failed,
    LogitsWritten,
    MachineDescribed,
    MemoryRead,
    Progressed,
    ReadMemory,
    Request,
    RunStarted,
    SustainedMeasured,
    TaskFailed,
    TimesMeasured,
    decode_event,
    encode,
    name_logits,
)
from edge_asc_bench.job import EVENTS, FEATURES, LOCK, LOG, SAMPLES, Job, Settings, Task
from edge_asc_bench.machine import describe, read_condition
from edge_asc_bench.process import Reply, WorkerProcess
from edge_asc_bench.timeouts import EVALUATION_PER_FRAME, HEARTBEAT, WORKER_REPLY

SAMPLING = 1.0
POLL = 0.1
# Sustained inference lasts for this many bursts at least.
FEWEST_BURSTS = 10

Emit = Callable[[Event], None]


class _Sampler:
    """Emits the machine's conditions, at most once a second."""

    def __init__(self, emit: Emit) -> None:
        self._emit, self._begun, self._next = emit, time.monotonic(), 0.0

    def sample(self, phase: str, *, always: bool = False) -> None:
        elapsed = time.monotonic() - self._begun
        if always or elapsed >= self._next:
            self._emit(ConditionsRead.of(round(elapsed, 2), phase, read_condition()))
            self._next = elapsed + SAMPLING


class _Team:
    """The workers of a job, without those that failed: the others go on.

    Args:
        emit: takes an event for each worker that fails.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._workers: dict[int, WorkerProcess] = {}

    @property
    def workers(self) -> dict[int, WorkerProcess]:
        """The workers that have not failed, by the index of their task."""
        return dict(self._workers)

    def open(self, index: int, task: Task, folder: Path, threads: int) -> WorkerProcess | None:
        """Start the worker of a task; None if it failed."""
        try:
            worker = WorkerProcess(index, task, folder, threads)
        except EdgeAscError as error:
            self._emit(TaskFailed(index, str(error)))
            return None
        self._workers[index] = worker
        self._emit(worker.opened)
        return worker

    def ask(self, index: int, request: Request, kind: type[Reply], timeout: float = WORKER_REPLY) -> Reply | None:
        """Return a worker's reply; None if it failed now or before."""
        if index not in self._workers:
            return None
        try:
            return self._workers[index].ask(request, kind, timeout)
        except EdgeAscError as error:
            self._workers.pop(index).close()
            self._emit(TaskFailed(index, str(error)))
            return None


def run(folder: Path, emit: Emit) -> None:
    """Do the job in `folder`, and emit its events.

    Raises:
        EdgeAscError: no model can be opened.
    """
    job = Job.read(folder)
    emit(MachineDescribed(**vars(describe())))
    sampler = _Sampler(emit)
    sampler.sample("before", always=True)
    failures: list[str] = []

    def pass_on(event: Event) -> None:
        if isinstance(event, TaskFailed):
            failures.append(event.message)
        emit(event)

    with ExitStack() as stack:
        team = _Team(pass_on)
        for i, task in enumerate(job.tasks):
            emit(Progressed("opening", i, len(job.tasks)))
            if worker := team.open(i, task, folder, job.settings.threads):
                stack.enter_context(worker)
        if job.tasks and not team.workers:
            raise EdgeAscError("\n".join(failures))
        _measure_latency(team, job.settings, sampler, emit)
        for i, worker in team.workers.items():
            if job.settings.duration:
                emit(Progressed(f"sustained inference: {worker.task.name}", i, len(job.tasks)))
                if sustained := _sustain(team, i, job.settings, sampler):
                    emit(sustained)
        for i in team.workers:
            if memory := team.ask(i, ReadMemory(), MemoryRead):
                emit(memory)
        for i in team.workers:
            emit(Progressed("accuracy", i, len(job.tasks)))
            samples = str(folder / SAMPLES) if job.counts else ""
            output = str(folder / name_logits(i))
            request = Evaluate(str(folder / FEATURES), job.frames, samples, job.counts, output)
            timeout = WORKER_REPLY + EVALUATION_PER_FRAME * sum(job.frames)
            if written := team.ask(i, request, LogitsWritten, timeout):
                emit(written)
    sampler.sample("after", always=True)


def _measure_latency(team: _Team, settings: Settings, sampler: _Sampler, emit: Emit) -> None:
    """Let all workers decide in interleaved rounds."""
    for i, worker in team.workers.items():
        team.ask(i, Decide(settings.warm_up if worker.task.seconds is None else 2), TimesMeasured)
    for done in range(settings.rounds):
        emit(Progressed("latency", done, settings.rounds))
        sampler.sample("latency")
        for i, worker in team.workers.items():
            count = settings.burst if worker.task.seconds is None else settings.window_burst
            team.ask(i, Decide(settings.lead), TimesMeasured)
            if measured := team.ask(i, Decide(count), TimesMeasured):
                emit(measured)
    sampler.sample("after latency", always=True)


def _sustain(team: _Team, task: int, settings: Settings, sampler: _Sampler) -> SustainedMeasured | None:
    """Let one worker decide without a pause; None if it failed."""
    medians: list[float] = []
    count = settings.burst if team.workers[task].task.seconds is None else 2
    team.ask(task, Decide(count), TimesMeasured)
    before = team.ask(task, ReadMemory(), MemoryRead)
    end = time.monotonic() + settings.duration
    while time.monotonic() < end or len(medians) < FEWEST_BURSTS:
        measured = team.ask(task, Decide(count), TimesMeasured)
        if measured is None:
            return None
        times = sorted(map(sum, zip(measured.front_end or [0] * count, measured.model, strict=True)))
        medians.append(times[len(times) // 2] / 1e6)
        sampler.sample("sustained")
    after = team.ask(task, ReadMemory(), MemoryRead)
    if before is None or after is None:
        return None
    return SustainedMeasured(task, tuple(medians), count * len(medians), (before.now, after.now))


def follow(folder: Path, alive: Callable[[], bool], run: str = "", first: int = 0) -> Iterator[Event | None]:
    """Yield the events of a run as they come; None while there is none.

    Starts after `first` events if they were of this `run`, else with the first one, which names the run. Ends after
    `Done` or `Failed`; a run that died ends with `Failed`.
    """
    while not (folder / EVENTS).exists():
        if not alive():
            yield _describe_death(folder)
            return
        yield None
    with (folder / EVENTS).open(encoding="utf-8") as file:
        number, rest = 0, ""
        while True:
            living = alive()  # before reading: the last events of a run are read after its end
            line = file.readline()
            if not line.endswith("\n"):
                rest += line
                if not line and not living:
                    yield _describe_death(folder)
                    return
                yield None
                continue
            event = decode_event(rest + line)
            rest, number = "", number + 1
            if isinstance(event, RunStarted) and event.id != run:
                first = 0
            if number > first:
                yield event
            if isinstance(event, Done | Failed):
                return


def _describe_death(folder: Path) -> Failed:
    try:
        lines = (folder / LOG).read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return Failed(f"the runner ended before it was done{': ' + lines[-1] if lines else ''}")


def is_running(folder: Path) -> bool:
    """Return whether a process does the job now: it holds the lock as long as it lives, whatever ends it."""
    if not (folder / LOCK).is_file():
        return False
    with try_lock(folder / LOCK) as lock:
        return lock is None


def _run(folder: Path) -> None:
    """Do the job, and write its events to the folder."""
    with (folder / EVENTS).open("w", encoding="utf-8") as file:

        def emit(event: Event) -> None:
            file.write(encode(event) + "\n")
            file.flush()

        emit(RunStarted(uuid.uuid4().hex, datetime.now(UTC).isoformat(timespec="seconds")))
        try:
            run(folder, emit)
        except (EdgeAscError, OSError) as error:
            emit(Failed(str(error)))
        else:
            emit(Done())


def _attend(folder: Path) -> None:
    """Do the job, but end with all workers when stdin ends: the process that asked for it has ended."""
    end_with_stdin()
    _run(folder)


def _start(folder: Path) -> None:
    """Start a process that does the job and outlives this one, unless the job is done or such a process exists."""
    if _is_done(folder):
        return
    with try_lock(folder / LOCK) as lock:
        if lock is None:
            return
        (folder / EVENTS).unlink(missing_ok=True)
        command = make_command("edge_asc_bench.runner", "run", str(folder))
        with (folder / LOG).open("w") as log:
            # It inherits the lock: there is no moment at which nobody holds it.
            started = subprocess.Popen(
                command,
                env=make_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                pass_fds=(lock.fileno(),),
            )
        lock.truncate(0)
        lock.write(str(started.pid).encode())


def _is_done(folder: Path) -> bool:
    try:
        last = (folder / EVENTS).read_text(encoding="utf-8").splitlines()[-1]
        return isinstance(decode_event(last), Done)
    except (OSError, IndexError, EdgeAscError):
        return False


def _follow(folder: Path, run: str, first: int) -> None:
    """Print events; an empty line now and then, so that a broken connection is noticed."""
    quiet = 0.0
    for event in follow(folder, lambda: is_running(folder), run, first):
        if event is None:
            time.sleep(POLL)
            quiet += POLL
            if quiet >= HEARTBEAT:
                print(flush=True)
                quiet = 0.0
        else:
            print(encode(event), flush=True)


def _stop(folder: Path) -> None:
    if is_running(folder):
        with suppress(ProcessLookupError, ValueError):
            os.killpg(int((folder / LOCK).read_text()), signal.SIGTERM)


def main(arguments: list[str]) -> None:
    """Run the command line: an action, the job's folder, and for `follow` a run and a number of events to skip.

    `attend` does the job for a process that holds stdin open; `run` does it for whoever looks at its events later.
    """
    action, folder, *rest = arguments
    path = Path(folder)
    if action == "follow":
        run, first = rest
        with suppress(BrokenPipeError):
            _follow(path, run, int(first))
    else:
        {"attend": _attend, "run": _run, "start": _start, "stop": _stop}[action](path)


if __name__ == "__main__":
    main(sys.argv[1:])
