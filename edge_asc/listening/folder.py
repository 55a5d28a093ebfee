"""Events of many recordings: one result file for each, so that an interrupted run resumes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from edge_asc import audio
from edge_asc.data.folder import Folder
from edge_asc.detection.event import SoundEvent
from edge_asc.detection.rules import EventRules
from edge_asc.detection.tables import CSV_COLUMNS, FORMATS, format_csv
from edge_asc.errors import EdgeAscError, OutputError
from edge_asc.files import sha256, write_bytes, write_json
from edge_asc.jsonobject import JsonObject, JsonValue, parse_json
from edge_asc.listening.listener import Listener
from edge_asc.listening.sink import Change, Sink
from edge_asc.rule import DecisionRule
from edge_asc.runtime import Runtime
from edge_asc.streaming import StreamingClassifier
from edge_asc.text import replace_surrogates

# 1: first version.
SCHEMA_VERSION = 1
KIND = "events"
SUFFIX = ".events.json"
TABLE = "events.csv"


@dataclass(frozen=True)
class Recording:
    """One recording to search for events.

    Attributes:
        path: of the file.
        name: relative to the folder that was given, with slashes; the name of the results.
        version: changes when the file does: its size and its time when it was found; "" where nobody knows them.
    """

    path: Path
    name: str
    version: str = ""


def find_recordings(places: Sequence[Path]) -> tuple[Recording, ...]:
    """Return the recordings at some places: files as they are, and all sound files below folders, by name.

    Hidden files and folders are left out.

    Raises:
        EdgeAscError: a folder has no sound file, or two recordings have one name.
    """
    recordings: list[Recording] = []
    for place in places:
        if not place.is_dir():
            recordings.append(_make_recording(place, place.name))
            continue
        below = [place / path for path in Folder.scan(place).sounds]
        if not below:
            raise EdgeAscError(f"{place}: no sound files below it; expected some such as .wav, .flac or .mp3")
        recordings += [_make_recording(path, path.relative_to(place).as_posix()) for path in below]
    ((name, count),) = Counter(recording.name for recording in recordings).most_common(1)
    if count > 1:
        raise EdgeAscError(f"{count} recordings are called {name}; give the folder that holds them, or one at a time")
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
        tables: SHA-256 of each table that was written beside the result, by the name of its format.
    """

    source: str
    seconds: float
    events: tuple[SoundEvent, ...]
    tables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Search:
    """How recordings are searched for events.

    Attributes:
        runtime: a causal model.
        decision: rule of its decisions.
        rules: when a probability is an event.
        model: digest of the model's file or folder.
    """

    runtime: Runtime
    decision: DecisionRule
    rules: EventRules
    model: str = ""

    def run(self, recording: Recording, sinks: Sequence[Sink] = ()) -> Result:
        """Return the events of a recording.

        Raises:
            AudioError: it cannot be read.
            MissingExtraError: its format needs a package that is not installed.
        """
        collector = _Collector()
        classifier = StreamingClassifier(self.runtime, decision=self.decision)
        listener = Listener(recording.name, classifier, self.rules, (*sinks, collector))
        count, rate = 0, self.runtime.contract.front_end.sample_rate
        try:
            for block in audio.stream(recording.path, rate):
                listener.push(block)
                count += len(block)
        finally:
            listener.finish()
        events = sorted(collector.events, key=lambda event: (event.start, event.label))
        return Result(recording.name, count / rate, tuple(events))

    def identify(self) -> str:
        """Return a digest of the model and the settings: results with another one are made again."""
        settings = [self.model, self.runtime.contract.name, str(self.decision), self.rules.to_json()]
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


class ResultFolder:
    """A folder of results: NAME.events.json for each recording, tables beside them, and events.csv for all.

    Args:
        folder: of the results.
        search: how they are made.
        formats: names in FORMATS of the tables to write.

    Raises:
        OutputError: events.csv is there, and is no table of events.
    """

    def __init__(self, folder: Path, search: Search, formats: Sequence[str] = ()) -> None:
        self._folder, self._formats = folder, tuple(formats)
        self._digest = search.identify()
        table = folder / TABLE
        if table.exists() and not _starts_with(table, ",".join(CSV_COLUMNS).encode()):
            raise OutputError(f"{table}: is no table of events of this command; move it, or choose another folder")

    def load(self, recording: Recording) -> Result | None:
        """Return the result of a recording where it is up to date, else None. Tables that are missing are written.

        Raises:
            OutputError: a table cannot be written.
        """
        stored = self._read(recording)
        if stored is None or not recording.version or stored[0] != (self._digest, recording.version):
            return None
        result = stored[1]
        missing = [name for name in self._formats if not self._path(recording, FORMATS[name].suffix).exists()]
        if missing or not set(self._formats) <= set(result.tables):
            self.save(recording, result)
        return result

    def _read(self, recording: Recording) -> tuple[tuple[str, str], Result] | None:
        """Return the settings and the version of the file of a stored result, and the result."""
        path = self._path(recording)
        try:
            value = JsonObject(parse_json(path.read_bytes()), path.name)
            if value.text("kind") != KIND or value.integer("schema_version") != SCHEMA_VERSION:
                return None
            events = tuple(_read_event(each) for each in value.children("events"))
            tables = value.child_or_empty("tables").text_items()
            result = Result(value.text("source"), value.number("seconds"), events, tables)
            return (value.text("settings"), value.text("file")), result
        except (OSError, ValueError, EdgeAscError):
            return None

    def save(self, recording: Recording, result: Result) -> None:
        """Write the result of a recording and its tables, each whole or not at all.

        Raises:
            OutputError: they cannot be written, or a table is there that was not written here, or was edited since.
        """
        stored = self._read(recording)
        written = {} if stored is None else stored[1].tables
        tables = {name: form.write(result.events).encode(errors="backslashreplace") for name, form in FORMATS.items()}
        paths = {name: self._path(recording, form.suffix) for name, form in FORMATS.items()}
        hashes: dict[str, JsonValue] = {}
        for name, path in paths.items():
            new, present = hashlib.sha256(tables[name]).hexdigest(), sha256(path) if path.exists() else ""
            is_ours = present in (written.get(name), new)
            if name in self._formats:
                hashes[name] = new
                if present and not is_ours:
                    raise OutputError(
                        f"{path}: was not written by this command, or was edited since; move it, or choose another "
                        "folder"
                    )
            elif is_ours:
                hashes[name] = present
        # Whenever the process ends, each table that is there is one that the result lists.
        for name in self._formats:
            paths[name].unlink(missing_ok=True)
        fields: dict[str, JsonValue] = {
            "kind": KIND,
            "schema_version": SCHEMA_VERSION,
            "settings": self._digest,
            "file": recording.version,
            "source": replace_surrogates(result.source),
            "seconds": round(result.seconds, 6),
            "events": [_event_fields(event) for event in result.events],
            "tables": hashes,
        }
        write_json(self._path(recording), fields)
        for name in self._formats:
            write_bytes(paths[name], tables[name])

    def save_table(self, results: Sequence[Result]) -> Path:
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


def _make_recording(path: Path, name: str) -> Recording:
    try:
        status = path.stat()
    except OSError:  # reading it says why
        return Recording(path, name)
    return Recording(path, name, f"{status.st_size}-{status.st_mtime_ns}")


def _starts_with(path: Path, start: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(start)) == start


def _event_fields(event: SoundEvent) -> dict[str, JsonValue]:
    fields: dict[str, JsonValue] = asdict(event)
    del fields["began"]
    return fields


def _read_event(value: JsonObject) -> SoundEvent:
    start, end, peak, mean = (value.number(name) for name in ("start", "end", "peak", "mean"))
    return SoundEvent(value.text("label"), start, end, peak, mean)
