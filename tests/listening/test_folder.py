"""Events of many recordings: results that resume, and tables that other programs read."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from edge_asc import audio
from edge_asc.detection.event import SoundEvent
from edge_asc.detection.rules import EventRules
from edge_asc.engine import open_runtime
from edge_asc.errors import AudioError, EdgeAscError, OutputError
from edge_asc.listening.folder import Recording, Result, ResultFolder, Search, find_recordings
from edge_asc.rule import DecisionRule
from edge_asc.runtime import Runtime
from listeners import Collector
from test_light import GOLDEN, samples

RULES = EventRules(threshold=0.05)


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return open_runtime(GOLDEN / "fuse-int8.tflite")


@pytest.fixture
def search(runtime: Runtime) -> Search:
    return Search(runtime, DecisionRule("last"), RULES)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    for name in ("b.wav", "a.wav", "deep/a.wav", ".hidden.wav", ".cache/x.wav", "deep/UPPER.WAV"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        audio.write(folder / name, samples())
    (folder / "notes.txt").write_text("not audio")
    return folder


def test_recordings_are_found_below_folders_without_hidden_ones(recordings: Path) -> None:
    found = find_recordings([recordings])
    assert [recording.name for recording in found] == ["a.wav", "b.wav", "deep/UPPER.WAV", "deep/a.wav"]
    assert all(recording.version for recording in found)
    assert [r.name for r in find_recordings([recordings / ".hidden.wav"])] == [".hidden.wav"]


def test_two_recordings_of_one_name_are_refused(recordings: Path) -> None:
    with pytest.raises(EdgeAscError, match=r"2 recordings are called a.wav; give the folder that holds them"):
        find_recordings([recordings / "a.wav", recordings / "deep/a.wav"])
    assert len(find_recordings([recordings / "a.wav", recordings / "b.wav"])) == 2


def test_a_folder_without_recordings_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EdgeAscError, match="no sound files below it"):
        find_recordings([tmp_path])


def test_a_search_has_events_with_ends(search: Search, recordings: Path) -> None:
    sink = Collector()
    (recording,) = find_recordings([recordings / "a.wav"])
    result = search.run(recording, [sink])
    assert result.seconds == pytest.approx(len(samples()) / 16_000)
    assert result.events
    assert all(event.end is not None and event.end <= result.seconds + 1e-9 for event in result.events)
    assert sorted(sink.ended, key=lambda e: (e[1], e[0])) == [(e.label, e.start, e.end) for e in result.events]


def test_a_result_is_up_to_date_until_the_file_the_model_or_the_settings_change(
    search: Search, recordings: Path, tmp_path: Path
) -> None:
    (recording,) = find_recordings([recordings / "a.wav"])
    folder = ResultFolder(tmp_path / "out", search)
    assert folder.load(recording) is None
    result = search.run(recording)
    folder.save(recording, result)
    assert folder.load(recording) == result
    for changed in (
        replace(search, rules=replace(RULES, threshold=0.06)),
        replace(search, rules=replace(RULES, thresholds={"rain": 0.5})),
        replace(search, decision=DecisionRule("forgetting", 2.0)),
        replace(search, model="another"),
    ):
        assert ResultFolder(tmp_path / "out", changed).load(recording) is None
    os.utime(recordings / "a.wav", (1, 1))
    (touched,) = find_recordings([recordings / "a.wav"])
    assert folder.load(touched) is None
    assert folder.load(replace(recording, version="")) is None


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"kind": "events"}', '{"kind": "events", "schema_version": 9}'])
def test_a_damaged_result_is_made_again(damage: str, search: Search, recordings: Path, tmp_path: Path) -> None:
    (recording,) = find_recordings([recordings / "a.wav"])
    folder = ResultFolder(tmp_path / "out", search, ["audacity"])
    result = search.run(recording)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.wav.events.json").write_text(damage)
    assert folder.load(recording) is None
    folder.save(recording, result)
    assert folder.load(recording) == replace(result, tables=json.loads(_read(tmp_path, "a.wav.events.json"))["tables"])


def _read(tmp_path: Path, name: str) -> str:
    return (tmp_path / "out" / name).read_text(encoding="utf-8")


def test_a_table_that_is_asked_for_later_or_was_removed_is_written(
    search: Search, recordings: Path, tmp_path: Path
) -> None:
    (recording,) = find_recordings([recordings / "deep"])[-1:]
    ResultFolder(tmp_path / "out", search).save(recording, search.run(recording))
    folder = ResultFolder(tmp_path / "out", search, ["raven", "audacity"])
    assert folder.load(recording) is not None
    table = tmp_path / "out/a.wav.Table.1.selections.txt"
    text = table.read_text()
    assert text.startswith("Selection\t")
    assert (tmp_path / "out/a.wav.txt").exists()
    table.unlink()
    assert folder.load(recording) is not None
    assert table.read_text() == text


def test_a_table_of_somebody_else_is_never_overwritten(search: Search, recordings: Path, tmp_path: Path) -> None:
    (recording,) = find_recordings([recordings / "a.wav"])
    folder = ResultFolder(tmp_path / "out", search, ["audacity"])
    result = search.run(recording)
    table = tmp_path / "out/a.wav.txt"
    table.parent.mkdir()
    table.write_text("my notes")
    with pytest.raises(OutputError, match=r"a.wav.txt: was not written by this command, or was edited since"):
        folder.save(recording, result)
    assert table.read_text() == "my notes"
    table.unlink()
    folder.save(recording, result)
    folder.save(recording, result)
    table.write_text(table.read_text() + "0\t1\tmy label\n")
    with pytest.raises(OutputError, match="was edited since"):
        folder.save(recording, result)


def test_a_table_of_all_that_is_not_ours_is_refused_before_the_work(search: Search, tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("name,price\n")
    with pytest.raises(OutputError, match="is no table of events of this command"):
        ResultFolder(tmp_path, search)
    assert (tmp_path / "events.csv").read_text() == "name,price\n"


def test_the_table_of_all_is_quoted(search: Search, tmp_path: Path) -> None:
    names = ['a, "b".wav', "=1+1.wav", "a\nb.wav", "\udcff.wav"]
    event = SoundEvent("church_bells", 1.0, 2.5, 0.9, 0.8)
    folder = ResultFolder(tmp_path, search)
    path = folder.save_table([Result(name, 3.0, (event,)) for name in names])
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == ['a, "b".wav', "'=1+1.wav", "a\\nb.wav", "\\xff.wav"]
    assert {(row["label"], row["start"], row["end"], row["duration"]) for row in rows} == {
        ("church_bells", "1.000", "2.500", "1.500")
    }
    folder.save_table([])
    assert len(path.read_text().splitlines()) == 1


def test_what_cannot_be_read_is_an_error_of_audio(search: Search, tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError):
        search.run(Recording(tmp_path / "x.wav", "x.wav"))
    (missing,) = find_recordings([tmp_path / "none.wav"])
    assert missing.version == ""
    with pytest.raises(AudioError, match="no such file"):
        search.run(missing)
