"""The events of a target, collected while its job runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.logits import check_finite
from edge_asc.frontend import Array
from edge_asc_bench.events import (
    ConditionsRead,
    Event,
    Failed,
    LogitsWritten,
    MachineDescribed,
    MemoryRead,
    MessageError,
    Opened,
    RunStarted,
    SustainedMeasured,
    TaskFailed,
    TimesMeasured,
)
from edge_asc_bench.job import Task
from edge_asc_bench.latency import round_to_digits
from edge_asc_bench.machine import Machine
from edge_asc_bench.result import Memory, Sample

Logits = dict[int | None, list[Array]]
"""Logits of each clip by the length of the window, s; None for steps."""


class Observation:
    """The events of a run.

    Attributes:
        at: start of the run, ISO 8601; "" if it has not started.
        machine: that the job runs on.
        conditions: of the machine.
        tasks: events by the task's index.
    """

    def __init__(self, count: int) -> None:
        """Collect the events of a job of `count` tasks."""
        self._count = count
        self._restart("")

    def _restart(self, at: str) -> None:
        self.at = at
        self.machine = Machine()
        self.conditions: list[Sample] = []
        self.tasks: dict[int, TaskObservation] = {}

    def receive(self, event: Event) -> None:
        """Keep an event. A run that starts makes the events of an earlier one void.

        Raises:
            EdgeAscError: the event is `Failed`.
            MessageError: it is of a task that the job has not, or comes before the task's model was opened.
        """
        match event:
            case Failed():
                raise EdgeAscError(event.message)
            case RunStarted():
                self._restart(event.at)
            case MachineDescribed():
                self.machine = Machine(**asdict(event))
            case ConditionsRead():
                self.conditions.append(Sample(**asdict(event)))
            case Opened() | TimesMeasured() | SustainedMeasured() | MemoryRead() | LogitsWritten() | TaskFailed():
                task = self.tasks.setdefault(event.task, TaskObservation())
                if event.task >= self._count:
                    raise MessageError(f"event {event.event!r} of task {event.task}, expected one below {self._count}")
                if task.opened is None and not isinstance(event, Opened | TaskFailed):
                    raise MessageError(f"event {event.event!r} of task {event.task} before its event 'opened'")
                task.receive(event)

    def read_logits(self, folder: Path, tasks: Sequence[Task], model: int) -> Logits:
        """Read the logits of a model that the target left in the job's folder.

        Raises:
            EdgeAscError: a file is damaged, or holds what are not finite numbers.
        """
        by_window: Logits = {}
        for i, task in enumerate(tasks):
            if task.model != model or i not in self.tasks:
                continue
            written = self.tasks[i].logits
            if written is not None and (folder / written.file).is_file():
                rows = _read_rows(folder / written.file, sum(written.rows))
                by_window[task.seconds] = np.split(rows, np.cumsum(written.rows)[:-1])
        return by_window


def _read_rows(path: Path, count: int) -> Array:
    """Read (rows, classes) of float32; a header that promises more than the file holds is an error."""
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        if mapped.dtype != np.float32 or mapped.ndim != 2 or len(mapped) != count or not mapped.shape[1]:
            raise ValueError(f"{mapped.dtype} of shape {mapped.shape}, expected float32 of {count} rows")
        rows: Array = np.array(mapped)
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise EdgeAscError(f"the file of its outputs is damaged ({error})") from error
    check_finite([rows])
    return rows


class TaskObservation:
    """The events of one model in one form.

    Attributes:
        opened: None until the model is open.
        front_end, model, engine: times, ns; `front_end` is None where the front end does not run.
        rounds: median of each round, ms.
        sustained: None where there was no sustained inference.
        memory: None until it was read.
        logits: None until they were written.
        failed: why the model failed; None if it did not.
    """

    def __init__(self) -> None:
        self.opened: Opened | None = None
        self.front_end: list[int] | None = []
        self.model: list[int] = []
        self.engine: list[int] = []
        self.rounds: list[float] = []
        self.sustained: SustainedMeasured | None = None
        self.memory: Memory | None = None
        self.logits: LogitsWritten | None = None
        self.failed: str | None = None

    def receive(
        self, event: Opened | TimesMeasured | SustainedMeasured | MemoryRead | LogitsWritten | TaskFailed
    ) -> None:
        """Keep an event."""
        match event:
            case Opened():
                self.opened = event
            case TimesMeasured():
                self.model += event.model
                self.engine += event.engine
                self.front_end = None if event.front_end is None else [*(self.front_end or []), *event.front_end]
                total = np.add(event.model, event.front_end or 0)
                self.rounds.append(round_to_digits(float(np.median(total)) / 1e6))
            case SustainedMeasured():
                self.sustained = event
            case MemoryRead():
                opened = self.opened
                assert opened is not None
                peak = event.peak if opened.peak_reset else None  # else it is the peak of importing
                self.memory = Memory(
                    peak=peak, now=event.now, bare=opened.bare, front_end=opened.front_end, imported=opened.imported
                )
            case LogitsWritten():
                self.logits = event
            case TaskFailed():
                self.failed = event.message

    @property
    def totals(self) -> list[int]:
        """The times of front end and model together, ns."""
        if self.front_end is None:
            return self.model
        return [a + b for a, b in zip(self.front_end, self.model, strict=True)]
