"""The events of a target, collected while its job runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import msgspec
import numpy as np

from edge_asc.errors import EdgeAscError
from edge_asc.frontend import Array
from edge_asc_bench.events import (
    ConditionsRead,
    Event,
    Failed,
    LogitsWritten,
    MachineDescribed,
    MemoryRead,
    Opened,
    RunStarted,
    SustainedMeasured,
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

    def __init__(self) -> None:
        self._restart("")

    def _restart(self, at: str) -> None:
        self.at = at
        self.machine = Machine()
        self.conditions: list[Sample] = []
        self.tasks: dict[int, TaskObservation] = {}

    def receive(self, event: Event) -> None:
        """Keep an event. A run that starts makes the events of an earlier one void.

        Raises:
            EdgeAscError: the event is `Failed`, or a field of it has the wrong type.
        """
        try:
            msgspec.convert(asdict(event), type(event))
        except msgspec.ValidationError as error:
            raise EdgeAscError(
                f"got a damaged event {event.event!r} ({error}); use the same version of edge-asc on both sides"
            ) from error
        match event:
            case Failed():
                raise EdgeAscError(event.message)
            case RunStarted():
                self._restart(event.at)
            case MachineDescribed():
                self.machine = Machine(**asdict(event))
            case ConditionsRead():
                self.conditions.append(Sample(**asdict(event)))
            case Opened() | TimesMeasured() | SustainedMeasured() | MemoryRead() | LogitsWritten():
                self.tasks.setdefault(event.task, TaskObservation()).receive(event)

    def read_logits(self, folder: Path, tasks: Sequence[Task], model: int) -> Logits:
        """Read the logits of a model that the target left in the job's folder."""
        by_window: Logits = {}
        for i, task in enumerate(tasks):
            if task.model != model or i not in self.tasks:
                continue
            written = self.tasks[i].logits
            if written is not None and (folder / written.file).is_file():
                rows = np.load(folder / written.file)
                by_window[task.seconds] = np.split(rows, np.cumsum(written.rows)[:-1])
        return by_window


class TaskObservation:
    """The events of one model in one form.

    Attributes:
        opened: None until the model is open.
        front_end, model, engine: times, ns; `front_end` is None where the front end does not run.
        rounds: median of each round, ms.
        sustained: None where there was no sustained inference.
        memory: None until it was read.
        logits: None until they were written.
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

    def receive(self, event: Opened | TimesMeasured | SustainedMeasured | MemoryRead | LogitsWritten) -> None:
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

    @property
    def totals(self) -> list[int]:
        """The times of front end and model together, ns."""
        if self.front_end is None:
            return self.model
        return [a + b for a, b in zip(self.front_end, self.model, strict=True)]
