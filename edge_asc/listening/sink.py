"""Where the events of a stream go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from edge_asc.detection.event import SoundEvent
from edge_asc.jsonobject import JsonValue
from edge_asc.streaming import Decision
from edge_asc.text import replace_surrogates

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Moment:
    """The state of a stream after one decision.

    Attributes:
        source: name of the stream, such as "microphone" or a file name.
        time: end of the step, seconds from the start of the stream, gaps included.
        decision: made on the audio up to now.
        level: of the step's samples, dBFS; negative infinity for digital silence.
        samples: of the step, (n,).
        wall: wall-clock time of the end of the step; None where nobody knows it.
    """

    source: str
    time: float
    decision: Decision
    level: float
    samples: Array
    wall: datetime | None = None


@dataclass(frozen=True)
class Change:
    """An event that was confirmed or has ended.

    Attributes:
        source: name of the stream.
        event: without an end while it lasts.
    """

    source: str
    event: SoundEvent

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object of the change."""
        return {"source": replace_surrogates(self.source), **self.event.to_json()}


class Sink:
    """Receives what a listener finds. Its methods do nothing; subclasses override what they need.

    A sink must not delay the stream: what may take long, such as a network, runs in a thread with a bounded queue.
    """

    def observe(self, moment: Moment) -> None:
        """Take the state after a decision, several times a second."""

    def receive(self, change: Change) -> None:
        """Take an event that was confirmed or has ended."""

    def note(self, source: str, text: str) -> None:
        """Take a remark on a source, such as a lost device."""

    def close(self) -> None:
        """Write what is left, and end."""


def deliver(sinks: Sequence[Sink], send: Callable[[Sink], None]) -> None:
    """Call `send` with each sink, also after one of them has failed.

    Raises:
        OSError: the first failure, such as a full disk or an output that nobody reads any more.
    """
    failure: OSError | None = None
    for sink in sinks:
        try:
            send(sink)
        except OSError as error:
            failure = failure or error
    if failure is not None:
        raise failure
