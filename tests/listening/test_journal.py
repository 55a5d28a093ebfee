"""The journal: whole lines, within bounds, and clear errors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_asc.detection.event import SoundEvent
from edge_asc.errors import OutputError
from edge_asc.listening.journal import OLD, Journal
from edge_asc.listening.sink import Change


def change(number: int = 0, source: str = "microphone") -> Change:
    return Change(source, SoundEvent("rain", float(number), number + 1.0, 0.9, 0.8))


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_change_is_a_line_at_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new/folder/events.jsonl")
    journal.receive(change())
    assert lines(journal.path) == [change().to_json()]
    journal.note("microphone", "lost\n")
    assert lines(journal.path)[1]["text"] == "lost\n"
    journal.close()
    again = Journal(journal.path)
    again.receive(change(1))
    assert [line.get("start") for line in lines(journal.path)] == [0.0, None, 1.0]
    again.close()


def test_its_size_is_bounded_and_no_line_is_cut(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl", size=1000)
    for number in range(100):
        journal.receive(change(number))
    journal.close()
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["events.jsonl", *(f"events.jsonl.{i}" for i in range(1, OLD + 1))]
    assert all(file.stat().st_size <= 1000 for file in files)
    starts = [line["start"] for file in [*reversed(files[1:]), files[0]] for line in lines(file)]
    assert starts == list(range(100 - len(starts), 100))


def test_a_line_larger_than_the_bound_is_written_all_the_same(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl", size=10)
    journal.receive(change(0))
    journal.receive(change(1))
    journal.close()
    assert len(lines(tmp_path / "events.jsonl")) == len(lines(tmp_path / "events.jsonl.1")) == 1


def test_a_cut_line_at_the_end_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"cut')
    journal = Journal(path)
    journal.receive(change())
    journal.close()
    assert path.read_text().splitlines()[0] == '{"cut'
    assert json.loads(path.read_text().splitlines()[1]) == change().to_json()


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    journal.receive(change(0))
    (tmp_path / "events.jsonl").rename(tmp_path / "rotated")
    journal.receive(change(1))
    journal.close()
    assert [line["start"] for line in lines(tmp_path / "rotated")] == [0.0]
    assert [line["start"] for line in lines(tmp_path / "events.jsonl")] == [1.0]


def test_a_removed_folder_is_one_clear_error(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "folder/events.jsonl")
    shutil.rmtree(tmp_path / "folder")
    with pytest.raises(OutputError, match=r"events.jsonl: cannot be written \(No such file"):
        journal.receive(change())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_clear_error() -> None:
    journal = Journal(Path("/dev/full"))
    with pytest.raises(OutputError, match=r"No space left on device.*free some space"):
        journal.receive(change())
    journal.close()


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
def test_a_disk_that_gets_full_leaves_whole_lines(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from edge_asc.listening.journal import Journal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150, 150))\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "journal.note('x', 'y' * 30)\n"
        "try:\n"
        "    journal.note('x', 'y' * 30)\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    path = tmp_path / "events.jsonl"

    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert "cannot be written (File too large)" in done.stdout
    assert len(lines(path)) == 1
    assert path.read_text().endswith("\n")


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Is a directory"):
        Journal(tmp_path)


def test_a_pipe_never_rotates(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    journal = Journal(path, size=10)
    journal.receive(change(0))
    journal.receive(change(1))
    journal.close()
    assert len(os.read(reader, 10_000).splitlines()) == 2
    os.close(reader)
    assert list(tmp_path.iterdir()) == [path]


def test_names_of_any_bytes_are_valid_json(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    journal.receive(change(source="a\udcff\x1b"))
    journal.close()
    assert lines(journal.path)[0]["source"] == "a\\udcff\x1b"
    assert b"\\udcff" in journal.path.read_bytes().replace(b"\\\\", b"\\")
