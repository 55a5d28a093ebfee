"""What a page shows of a stream: the current decision, the level, and the events of the last hour."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from edge_asc.jsonobject import JsonValue
from edge_asc.listening.listener import now
from edge_asc.listening.sink import Change, Moment, Sink

HISTORY = timedelta(hours=1)
MOST = 1000  # events
WAITING = 64  # messages for one reader; one that is slower is dropped
PERIOD = 0.2  # s between two states, at least
STALLED = 60.0  # s without audio

Message = tuple[str, str]  # name and JSON


class Board(Sink):
    """Keeps what a page shows, and passes changes on to readers in other threads.

    Args:
        model: name of the model.
        labels: that events are reported for.
        clock: s, as of `time.monotonic`.
    """

    def __init__(self, model: str, labels: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._model, self._labels, self._clock = model, list(labels), clock
        self._lock = threading.Lock()
        self._events: deque[tuple[datetime, dict[str, JsonValue]]] = deque(maxlen=MOST)
        self._readers: set[queue.Queue[Message | None]] = set()
        self._state: dict[str, JsonValue] | None = None
        self._last = self._last_sent = -float("inf")
        self._source = ""

    @property
    def is_live(self) -> bool:
        """Whether audio came in the last STALLED seconds."""
        return self._clock() - self._last < STALLED

    def observe(self, moment: Moment) -> None:
        """Take the state, and pass it on if the last one was not passed on just now."""
        decision, self._last = moment.decision, self._clock()
        with self._lock:
            self._source = moment.source
            self._state = {
                "label": decision.answer,
                "probability": round(decision.confidence, 4),
                "level": round(moment.level, 1) if moment.level > -1e3 else None,
                "now": _format(moment.wall or now()),
            }
            if self._last - self._last_sent >= PERIOD:
                self._last_sent = self._last
                self._send("state", self._state)

    def receive(self, change: Change) -> None:
        """Take an event, and pass it on."""
        event = change.event
        began = event.began or now()
        value: dict[str, JsonValue] = {**change.to_json(), "time": _format(began)}
        with self._lock:
            if event.end is not None:
                started = next((e for e in reversed(self._events) if _is_same(e[1], value)), None)
                if started is not None:
                    self._events.remove(started)
            self._events.append((began + timedelta(seconds=event.duration or 0.0), value))
            while self._events and self._is_old(*self._events[0]):
                self._events.popleft()
            self._send("change", value)

    def note(self, source: str, text: str) -> None:
        """Pass a remark on."""
        with self._lock:
            self._send("note", {"source": source, "text": text, "time": _format(now())})

    def snapshot(self) -> dict[str, JsonValue]:
        """Return all that the page shows, as JSON: events by the time of their last change."""
        with self._lock:
            return self._describe()

    def subscribe(self) -> queue.Queue[Message | None]:
        """Return a queue with all that there is and then each change; None at the end, or for a slow reader."""
        reader: queue.Queue[Message | None] = queue.Queue(WAITING + 1)
        with self._lock:
            reader.put(("all", json.dumps(self._describe(), allow_nan=False)))
            self._readers.add(reader)
        return reader

    def unsubscribe(self, reader: queue.Queue[Message | None]) -> None:
        """Forget a reader."""
        with self._lock:
            self._readers.discard(reader)

    def close(self) -> None:
        """Let all readers end."""
        with self._lock:
            for reader in list(self._readers):
                self._drop(reader)

    def _describe(self) -> dict[str, JsonValue]:
        return {
            "model": self._model,
            "source": self._source,
            "labels": list(self._labels),
            "state": self._state,
            "now": _format(now()),
            "events": [value for end, value in self._events if not self._is_old(end, value)],
        }

    def _is_old(self, end: datetime, value: dict[str, JsonValue]) -> bool:
        return value["end"] is not None and end < now() - HISTORY

    def _send(self, name: str, value: dict[str, JsonValue]) -> None:
        message = name, json.dumps(value, allow_nan=False)
        for reader in list(self._readers):
            if reader.qsize() >= WAITING:
                self._drop(reader)
            else:
                reader.put_nowait(message)

    def _drop(self, reader: queue.Queue[Message | None]) -> None:
        """End a reader, whose queue may be full."""
        self._readers.discard(reader)
        reader.queue.clear()
        reader.put_nowait(None)


def _is_same(known: dict[str, JsonValue], value: dict[str, JsonValue]) -> bool:
    return known["end"] is None and all(known[name] == value[name] for name in ("source", "label", "start"))


def _format(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
