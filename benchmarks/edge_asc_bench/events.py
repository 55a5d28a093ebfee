"""The wire protocol of a measurement: events from a runner, and requests to a worker.

Each message is one JSON object on one line. `event` or `request` names its type; the other fields are the type's.
`docs/protocol.md` describes the protocol for those who implement it on a new device. These types need the standard
library alone, since the runner and the worker run on devices.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, TypeVar

from edge_asc.errors import EdgeAscError
from edge_asc.jsonobject import parse_json
from edge_asc_bench.fieldtypes import find_mismatch, freeze, list_numbers
from edge_asc_bench.machine import Condition, Machine

# Characters of a line; the times of the longest round have some ten thousand.
LONGEST_LINE = 10_000_000


class MessageError(EdgeAscError):
    """A message that does not follow the protocol."""


@dataclass(frozen=True)
class Event:
    """One event; `event` is its name on the wire."""

    event: ClassVar[str]

    def check(self) -> None:
        """Check what the types of the fields do not say.

        Raises:
            ValueError: two fields contradict each other, or one is out of its range.
        """


@dataclass(frozen=True)
class RunStarted(Event):
    """A run of the job starts; everything that an earlier run reported is void.

    Attributes:
        id: unique for the run.
        at: ISO 8601 time.
    """

    event = "run"
    id: str
    at: str


@dataclass(frozen=True)
class MachineDescribed(Event, Machine):
    """The description of the machine; its fields are those of `Machine`."""

    event = "machine"


@dataclass(frozen=True)
class ConditionsRead(Event):
    """The conditions of the machine, at most once a second.

    Attributes:
        at: s since the run started.
        phase: "before", "latency", "after latency", "sustained" or "after".
        frequency_mhz, temperature_c, load, throttling: see `Condition`.
    """

    event = "conditions"
    at: float
    phase: str
    frequency_mhz: tuple[float, ...] | None
    temperature_c: float | None
    load: float | None
    throttling: tuple[str, ...] | None

    @classmethod
    def of(cls, at: float, phase: str, condition: Condition) -> ConditionsRead:
        """Return the event of a condition."""
        return cls(at, phase, **asdict(condition))


@dataclass(frozen=True)
class Progressed(Event):
    """Progress, for people.

    Attributes:
        title: of the phase, such as "latency".
        done, total: units of work in the phase.
    """

    event = "progress"
    title: str
    done: int = 0
    total: int = 1


@dataclass(frozen=True)
class Opened(Event):
    """A worker has opened its model and decided once.

    Attributes:
        task: index in the job.
        engine: with its version.
        load_ms: opening the model.
        cold_start_ms: opening the model and the first decision.
        bare: resident memory of the interpreter, bytes; None where the system does not report it.
        front_end: after the front end ran.
        imported: after the engine was imported.
        peak_reset: the peak of the resident memory starts from here.
    """

    event = "opened"
    task: int
    engine: str
    load_ms: float
    cold_start_ms: float
    bare: int | None
    front_end: int | None
    imported: int | None
    peak_reset: bool


@dataclass(frozen=True)
class TimesMeasured(Event):
    """The times of some decisions, ns.

    Attributes:
        task: index in the job.
        front_end: None where the front end is a part of the model.
        model: features to probabilities.
        engine: the engine's own part of the model's time.
    """

    event = "times"
    task: int
    front_end: tuple[int, ...] | None
    model: tuple[int, ...]
    engine: tuple[int, ...]

    def check(self) -> None:
        """Check that each decision has all of its times."""
        counts = {len(times) for times in (self.front_end, self.model, self.engine or self.model) if times is not None}
        if len(counts) > 1 or 0 in counts or 0 in self.model:
            raise ValueError(f"got {sorted(counts)} times, expected as many for each part, above 0")


@dataclass(frozen=True)
class SustainedMeasured(Event):
    """Inference without a pause.

    Attributes:
        task: index in the job.
        medians: of each burst, ms.
        decisions: in all.
        resident: memory before and after, bytes.
    """

    event = "sustained"
    task: int
    medians: tuple[float, ...]
    decisions: int
    resident: tuple[int | None, ...]

    def check(self) -> None:
        """Check that there are medians, and two sizes."""
        if not self.medians or 0 in self.medians or len(self.resident) != 2:
            raise ValueError("expected medians above 0, and the memory before and after")


@dataclass(frozen=True)
class MemoryRead(Event):
    """Resident memory of a worker, bytes; None where the system does not report it.

    Attributes:
        task: index in the job.
        peak: since the model was opened, if `Opened.peak_reset`.
        now: at the moment.
    """

    event = "memory"
    task: int
    peak: int | None
    now: int | None


@dataclass(frozen=True)
class LogitsWritten(Event):
    """The logits of all clips are in a file of the job's folder.

    Attributes:
        task: index in the job.
        file: NumPy array (rows, classes), float32.
        rows: of each clip.
    """

    event = "logits"
    task: int
    file: str
    rows: tuple[int, ...]

    def check(self) -> None:
        """Check the file's name: a device must not name another file of this machine."""
        if self.file != name_logits(self.task):
            raise ValueError(f"file: got {self.file[:40]!r}, expected {name_logits(self.task)!r}")


def name_logits(task: int) -> str:
    """Return the name of the file that holds the logits of a task, in the job's folder."""
    return f"logits-{task}.npy"


@dataclass(frozen=True)
class TaskFailed(Event):
    """A model failed in one form; the other tasks go on.

    Attributes:
        task: index in the job.
        message: what is wrong.
    """

    event = "failed"
    task: int
    message: str


@dataclass(frozen=True)
class Done(Event):
    """The run is complete; the last event."""

    event = "done"


@dataclass(frozen=True)
class Failed(Event):
    """The run, or a request, failed; the last event of a run.

    Attributes:
        message: what is wrong and what to do.
    """

    event = "error"
    message: str


@dataclass(frozen=True)
class Request:
    """One request to a worker; `request` is its name on the wire. The worker replies with one event."""

    request: ClassVar[str]


@dataclass(frozen=True)
class Open(Request):
    """Open a model and decide once; replied to by `Opened`.

    Attributes:
        task: index in the job.
        path: of the model.
        threads: of the engine.
        seconds: of the window; None for a step.
        audio: NumPy file of samples (n,) at 16 kHz.
    """

    request = "open"
    task: int
    path: str
    threads: int
    seconds: int | None
    audio: str


@dataclass(frozen=True)
class Decide(Request):
    """Decide `count` times; replied to by `TimesMeasured`."""

    request = "decide"
    count: int


@dataclass(frozen=True)
class Evaluate(Request):
    """Write the logits of clips; replied to by `LogitsWritten`.

    Attributes:
        features: NumPy file of raw log-mel (frames, mels) of all clips, one after another.
        frames: of each clip.
        samples: NumPy file of the samples (n,) of all clips, one after another; "" where no model takes samples.
        counts: samples of each clip.
        output: NumPy file to write.
    """

    request = "evaluate"
    features: str
    frames: tuple[int, ...]
    samples: str
    counts: tuple[int, ...]
    output: str


@dataclass(frozen=True)
class ReadMemory(Request):
    """Read the resident memory; replied to by `MemoryRead`."""

    request = "memory"


EVENTS: dict[str, type[Event]] = {
    kind.event: kind
    for kind in (
        RunStarted,
        MachineDescribed,
        ConditionsRead,
        Progressed,
        Opened,
        TimesMeasured,
        SustainedMeasured,
        MemoryRead,
        LogitsWritten,
        TaskFailed,
        Done,
        Failed,
    )
}
REQUESTS: dict[str, type[Request]] = {kind.request: kind for kind in (Open, Decide, Evaluate, ReadMemory)}

ADVICE = "use the same version of edge-asc on both sides"

Message = TypeVar("Message", Event, Request)


def encode(message: Event | Request) -> str:
    """Return a message as one line, without its end."""
    name = {"event": message.event} if isinstance(message, Event) else {"request": message.request}
    return json.dumps({**name, **asdict(message)})


def decode_event(line: str) -> Event:
    """Return the event of a line.

    Raises:
        MessageError: not an event that this version knows, or a field is missing, of another type or out of its range.
    """
    event = _decode(line, "event", EVENTS)
    try:
        _check_numbers(event)
        event.check()
    except ValueError as error:
        raise MessageError(f"damaged event {event.event!r}: {error}; {ADVICE}") from error
    return event


def decode_request(line: str) -> Request:
    """Return the request of a line.

    Raises:
        MessageError: not a request that this version knows, or a field is missing or of another type.
    """
    return _decode(line, "request", REQUESTS)


def _decode(line: str, noun: str, kinds: dict[str, type[Message]]) -> Message:
    try:
        if len(line) > LONGEST_LINE:
            raise ValueError(f"{len(line)} characters in a line")
        value = parse_json(line)
        name = value.get(noun) if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(name, str) or name not in kinds:
            raise ValueError(f"no {noun} of that name")
    except ValueError as error:
        raise MessageError(
            f"got {line[:80]!r} ({error}), expected a JSON {noun} of: {', '.join(kinds)}; {ADVICE}"
        ) from error
    kind = kinds[name]
    given: dict[str, Any] = {field.name: freeze(value[field.name]) for field in fields(kind) if field.name in value}
    if problem := find_mismatch(kind, given):
        raise MessageError(f"damaged {noun} {name!r}: {problem}; {ADVICE}")
    try:
        message: Message = kind(**given)
        return message
    except TypeError as error:
        missing = [field.name for field in fields(kind) if field.name not in given]
        raise MessageError(
            f"damaged {noun} {name!r}: it lacks one of {', '.join(missing)}, expected a JSON {noun} of: "
            f"{', '.join(kinds)}; {ADVICE}"
        ) from error


def _check_numbers(event: Event) -> None:
    """Check that no number is negative, but for a temperature."""
    for field in fields(event):
        value = getattr(event, field.name)
        if field.name != "temperature_c" and any(number < 0 for number in list_numbers(value)):
            raise ValueError(f"{field.name}: got a negative number")
