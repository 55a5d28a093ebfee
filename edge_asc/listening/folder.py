"""Events of many recordings: one result file for each, so that an interrupted run resumes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edge_asc import audio
from edge_asc.contract import StreamContract
from edge_asc.detection.event import SoundEvent
from edge_asc.detection.rules import EventRules
from edge_asc.detection.tables import FORMATS, format_csv
from edge_asc.errors import EdgeAscError
from edge_asc.files import write_bytes, write_json
from edge_asc.jsonobject import JsonObject, JsonValue, parse_json
from edge_asc.listening.listener import Listener
from edge_asc.listening.sink import Change, Sink
from edge_asc.rule import DecisionRule
from edge_asc.runtime import Runtime
from edge_asc.streaming import StreamingClassifier

# 1: first version.
SCHEMA_VERSION = 1
KIND = "events"
SUFFIX = ".events.json"
TABLE = "events.csv"
AUDIO = frozenset(
    f".{name}"
    for names in ("wav wave w64 rf64 flac ogg oga opus mp3 aif aiff au caf", "m4a mp4 aac wma webm amr 3gp")
    for name in names.split()
)


@dataclass(frozen=True)
class Recording:
    """One recording to search for events.

    Attributes:
        path: of the file.
        name: relative to the folder that was given, with slashes; the name of the results.
    """

    path: Path
    name: str


def find_recordings(places: Sequence[Path]) -> tuple[Recording, ...]:
    """Return the recordings at some places: files as they are, and all sound files below folders, by name.

    Hidden files and folders are left out.

    Raises:
        EdgeAscError: a folder has no sound file, or two recordings have one name.
    """
    recordings: list[Recording] = []
    for place in places:
        if not place.is_dir():
            recordings.append(Recording(place, place.name))
            continue
        below = [
            path
            for path in sorted(place.rglob("*"))
            if path.suffix.lower() in AUDIO
            and not any(part.startswith(".") for part in path.relative_to(place).parts)
            and path.is_file()
        ]
        if not below:
            raise EdgeAscError(f"{place}: no sound files below it; expected some such as .wav, .flac or .mp3")
        recordings += [Recording(path, path.relative_to(place).as_posix()) for path in below]
    names = [recording.name for recording in recordings]
    if equal := next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None:
        raise EdgeAscError(f"two recordings are called {equal}; give the folder that holds both, or one at a time")
    return tuple(recordings)


class _Collector(Sink):
    """Keeps the events that have ended."""

    def __init__(self) -> None:
        self.events: list[SoundEvent] = []

    def receive(self, change: Change) -> None:
        if change.event.end is not None:
            self.events.append(change.event)


@dataclass(frozen=True)
class Result:
    """What was found in one recording.

    Attributes:
        source: name of the recording.
        seconds: of audio.
        events: that have ended, by their start.
    """

    source: str
    seconds: float
    events: tuple[SoundEvent, ...]


@dataclass(frozen=True)
class Search:
    """How recordings are searched for events.

    Attributes:
        runtime: a causal model.
        decision: rule of its decisions.
        rules: when a probability is an event.
    """

    runtime: Runtime
    decision: DecisionRule
    rules: EventRules

    def run(self, recording: Recording, sinks: Sequence[Sink] = ()) -> Result:
        """Return the events of a recording.

        Raises:
            AudioError: it cannot be read.
        """
        collector = _Collector()
        classifier = StreamingClassifier(self.runtime, decision=self.decision)
        listener = Listener(recording.name, classifier, self.rules, (*sinks, collector))
        count, rate = 0, self.runtime.contract.front_end.sample_rate
        for block in audio.stream(recording.path, rate):
            listener.push(block)
            count += len(block)
        listener.finish()
        events = sorted(collector.events, key=lambda event: (event.start, event.label))
        return Result(recording.name, count / rate, tuple(events))

    def identify(self) -> str:
        """Return a digest of the model and the settings: results with another one are made again."""
        contract: StreamContract = self.runtime.contract
        settings = [contract.file_sha256, contract.name, contract.scheme, str(self.decision), self.rules.to_json()]
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


class ResultFolder:
    """A folder of results: NAME.events.json for each recording, tables beside them, and events.csv for all.

    Args:
        folder: of the results.
        search: how they are made.
        formats: names in FORMATS of the tables to write.
    """

    def __init__(self, folder: Path, search: Search, formats: Sequence[str] = ()) -> None:
        self._folder, self._search, self._formats = folder, search, tuple(formats)
        self._digest = search.identify()

    def load(self, recording: Recording) -> Result | None:
        """Return the result of a recording where it is up to date, else None."""
        path = self._path(recording)
        try:
            value = JsonObject(parse_json(path.read_bytes()), path.name)
            if value.text("kind") != KIND or value.integer("schema_version") != SCHEMA_VERSION:
                return None
            if value.text("settings") != self._digest or value.text("file") != _identify(recording.path):
                return None
            events = tuple(_read_event(each) for each in value.children("events"))
            return Result(value.text("source"), value.number("seconds"), events)
        except (OSError, ValueError, EdgeAscError):
            return None

    def save(self, recording: Recording, result: Result) -> None:
        """Write the result of a recording and its tables, each whole or not at all.

        Raises:
            OutputError: they cannot be written.
        """
        for name in self._formats:
            table = FORMATS[name]
            path = self._path(recording, table.suffix)
            write_bytes(path, table.write(result.events).encode(errors="backslashreplace"))
        fields: dict[str, JsonValue] = {
            "kind": KIND,
            "schema_version": SCHEMA_VERSION,
            "settings": self._digest,
            "file": _identify(recording.path),
            "source": result.source.encode(errors="backslashreplace").decode(),
            "seconds": round(result.seconds, 6),
            "events": [_event_fields(event) for event in result.events],
        }
        write_json(self._path(recording), fields)

    def save_table(self, results: Iterator[Result] | Sequence[Result]) -> Path:
        """Write events.csv with the events of all recordings; return its path.

        Raises:
            OutputError: it cannot be written.
        """
        rows = [(result.source, event) for result in results for event in result.events]
        path = self._folder / TABLE
        write_bytes(path, format_csv(rows).encode(errors="backslashreplace"))
        return path

    def _path(self, recording: Recording, suffix: str = SUFFIX) -> Path:
        return self._folder / f"{recording.name}{suffix}"


def _identify(path: Path) -> str:
    """Return what changes when a file does: its size and its time."""
    status = path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"


def _event_fields(event: SoundEvent) -> dict[str, JsonValue]:
    fields: dict[str, JsonValue] = asdict(event)
    del fields["began"]
    return fields


def _read_event(value: JsonObject) -> SoundEvent:
    start, end, peak, mean = (value.number(name) for name in ("start", "end", "peak", "mean"))
    return SoundEvent(value.text("label"), start, end, peak, mean)
