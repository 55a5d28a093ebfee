from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from rich.console import Console

from edge_asc import audio
from edge_asc.cli.strip import COLUMNS, ROWS, Strip
from edge_asc.demo import FOLDER, list_recordings
from edge_asc.frontend import LogMel
from edge_asc.streaming import StreamingClassifier

pytest.importorskip("ai_edge_litert")
MOST_BYTES = 300_000


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_asc", *map(str, arguments)], capture_output=True, text=True, encoding="utf-8"
    )


@pytest.fixture(scope="module")
def strip() -> Strip:
    classifier = StreamingClassifier.from_artefact("fuse-int8")
    front_end = classifier.contract.front_end
    samples = audio.read(list_recordings()[0].path, front_end.sample_rate)
    log_mel = LogMel(front_end.raw)(samples)
    return Strip(log_mel, classifier.push(samples), classifier.labels, front_end.hop / front_end.sample_rate)


def draw(strip: Strip, *, colour: bool) -> list[str]:
    system: Literal["truecolor"] | None = "truecolor" if colour else None
    console = Console(width=120, color_system=system, record=True, file=io.StringIO())
    console.print(strip.draw(colour=colour))
    return console.export_text(styles=colour).splitlines()


def test_the_recordings_are_small_and_credited() -> None:
    recordings = list_recordings()
    assert len(recordings) == 3
    assert sum(recording.path.stat().st_size for recording in recordings) <= MOST_BYTES
    assert {recording.licence for recording in recordings} <= {"CC0", "CC-BY"}
    assert sorted(FOLDER.glob("*/*.flac")) == sorted(recording.path for recording in recordings)


def test_every_recording_is_classified_right_and_int8_is_compared_with_float(tmp_path: Path) -> None:
    done = run("demo", "--json", "--picture", tmp_path / "demo.svg")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert [each["answer"] for each in value["recordings"]] == [each["label"] for each in value["recordings"]]
    assert any(each["events"] for each in value["recordings"])
    assert [each["scheme"] for each in value["models"]] == ["float", "int8"]
    picture = (tmp_path / "demo.svg").read_text(encoding="utf-8")
    assert picture.startswith("<svg")
    assert not re.search(r"url\(\W*http", picture)  # it needs no network


def test_a_file_is_drawn() -> None:
    recording = list_recordings()[0]
    done = run("classify", recording.path, "--draw", "--model", "fuse-int8")
    assert done.returncode == 0, done.stderr
    assert f"answer ▕{recording.label}" in done.stdout
    assert f"summary: {recording.label}" in done.stdout
    refused = run("classify", recording.path, "--draw", "--json")
    assert refused.returncode == 2
    assert "--draw belongs to a file, without --json" in refused.stderr


def test_the_picture_shows_the_recording_over_one_time_axis(strip: Strip) -> None:
    plain = draw(strip, colour=False)
    assert plain[0].lstrip().startswith("high")
    assert plain[ROWS - 1].lstrip().startswith("low")
    assert plain[ROWS].split() == ["0", "1", "2", "3", "4", "5", "s"]
    coloured = draw(strip, colour=True)
    assert "38;2;" in coloured[0]  # a colour of 24 bits
    assert coloured[0].count("▀") == COLUMNS


def test_the_picture_grows_while_its_axis_stays(strip: Strip) -> None:
    early = draw(strip.until(3), colour=False)
    whole = draw(strip, colour=False)
    assert early[ROWS] == whole[ROWS]
    for row in range(ROWS):
        assert whole[row].startswith(early[row].rstrip())
    assert len(strip.until(3).decisions) == 4


def test_silence_is_drawn(strip: Strip) -> None:
    silent = Strip(np.full((40, 256), -18.0, np.float32), (), strip.labels, strip.hop)
    assert len(draw(silent, colour=False)) == ROWS + 1
