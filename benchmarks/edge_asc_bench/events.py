"""The wire protocol of a measurement: events from a runner, and requests to a worker.

Each message is one JSON object on one line. `event` or `request` names its type; the other fields are the type's.
`docs/protocol.md` describes the protocol for those who implement it on a new device. These types need the standard
library alone, since the runner and the worker run on devices.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import ClassVar, TypeVar

from edge_asc.errors import EdgeAscError
from edge_asc_bench.machine import Condition, Machine


@dataclass(frozen=True)
class Event:
    """One event; `event` is its name on the wire."""

    event: ClassVar[str]


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
        front_end: None where the front end does not run.
        model: features to probabilities.
        engine: the engine's own part of the model's time.
    """

    event = "times"
    task: int
    front_end: tuple[int, ...] | None
    model: tuple[int, ...]
    engine: tuple[int, ...]


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
        output: NumPy file to write.
    """

    request = "evaluate"
    features: str
    frames: tuple[int, ...]
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
        Done,
        Failed,
    )
}
REQUESTS: dict[str, type[Request]] = {kind.request: kind for kind in (Open, Decide, Evaluate, ReadMemory)}

Message = TypeVar("Message", Event, Request)


def encode(message: Event | Request) -> str:
    """Return a message as one line, without its end."""
    name = {"event": message.event} if isinstance(message, Event) else {"request": message.request}
    return json.dumps({**name, **asdict(message)})


def decode_event(line: str) -> Event:
    """Return the event of a line.

    Raises:
        EdgeAscError: not an event that this version knows.
    """
    return _decode(line, "event", EVENTS)


def decode_request(line: str) -> Request:
    """Return the request of a line.

    Raises:
        EdgeAscError: not a request that this version knows.
    """
    return _decode(line, "request", REQUESTS)


def _decode(line: str, noun: str, kinds: dict[str, type[Message]]) -> Message:
    try:
        value = json.loads(line)
        kind = kinds[value.pop(noun)]
        names = [field.name for field in fields(kind)]
        return kind(**{name: _freeze(value.pop(name)) for name in list(value) if name in names})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EdgeAscError(
            f"got {line[:80]!r} ({error!r}), expected a JSON {noun} of: {', '.join(kinds)}; "
            "use the same version of edge-asc on both sides"
        ) from error


def _freeze(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
