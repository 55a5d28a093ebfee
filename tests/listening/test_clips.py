"""Clips: the right seconds, within their limit, and nothing else of the folder is touched."""

from __future__ import annotations

import os
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_asc.errors import OutputError
from edge_asc.files import write_bytes
from edge_asc.listening import clips as module
from edge_asc.listening.clips import NAME, Clips
from listeners import LABELS, RATE, STEP, Collector, make_listener, steps


def record(folder: Path, *labels: str, seconds: float = 0.5, limit: int = 10**6) -> list[str]:
    """Follow a scene with clips; return the lines about clips that were not kept."""
    lines: list[str] = []
    sink = Clips(folder, seconds, limit, RATE, 0.5, lines.append)
    listener = make_listener(sink)
    listener.push(steps(*labels))
    listener.finish()
    sink.close()
    return lines


def kept(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name))


def read(path: Path) -> list[str]:
    """The labels of the steps of a clip."""
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    levels = np.round(samples.reshape(-1, STEP).mean(axis=1) / 0.1).astype(int)
    return [("-", *LABELS)[level] for level in levels]


def test_a_clip_has_the_seconds_around_its_event(tmp_path: Path) -> None:
    assert record(tmp_path, *["-"] * 6, "rain", "rain", "rain", *["-"] * 6) == []
    (clip,) = kept(tmp_path)
    assert clip.name.endswith("-rain.flac")
    assert read(clip) == ["-", "-", "rain", "rain", "rain", "-", "-"]


def test_clips_overlap_and_the_end_of_the_stream_ends_them(tmp_path: Path) -> None:
    record(tmp_path, "-", "rain", "rain", "church_bells", "church_bells")
    by_label = {path.stem.rpartition("-")[2]: read(path) for path in kept(tmp_path)}
    assert by_label["rain"] == ["-", "rain", "rain", "church_bells", "church_bells"]
    assert by_label["church_bells"] == ["rain", "rain", "church_bells", "church_bells"]


def test_a_long_event_is_kept_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 1.0)
    record(tmp_path, "-", "-", "-", *["rain"] * 40)
    assert read(*kept(tmp_path)) == ["-", "-", *["rain"] * 4]


def test_a_gap_ends_a_clip(tmp_path: Path) -> None:
    sink = Clips(tmp_path, 0.5, 10**6, RATE, 0.5, print)
    listener = make_listener(sink)
    listener.push(steps("-", "rain", "rain"))
    listener.interrupt(100.0)
    listener.push(steps("-", "-", "-", "church_bells", "church_bells", "-"))
    sink.close()
    first, second = sorted(kept(tmp_path), key=lambda path: "bells" in path.name)
    assert read(first) == ["-", "rain", "rain"]
    assert read(second) == ["-", "-", "church_bells", "church_bells", "-"]


def test_the_oldest_clips_are_removed_and_no_other_file(tmp_path: Path) -> None:
    others = ["song.flac", "edge-asc-clip-mine.flac", "x-edge-asc-clip-20260101T120000000+0000-rain.flac"]
    for name in others:
        (tmp_path / name).write_bytes(bytes(50_000))
    outside = tmp_path / "outside.flac"
    outside.write_bytes(bytes(50_000))
    link = tmp_path / "edge-asc-clip-20260101T120000000+0000-rain.flac"
    link.symlink_to(outside)
    scene = ["-", "rain", "rain", "-", "-"]
    record(tmp_path, *scene)
    (first,) = [path for path in kept(tmp_path) if not path.is_symlink()]
    size = first.stat().st_size
    os.utime(first, (1, 1))
    record(tmp_path, *scene * 5, limit=3 * size + size // 2)
    clips = [path for path in kept(tmp_path) if not path.is_symlink()]
    assert len(clips) == 3
    assert first not in clips
    assert sum(path.stat().st_size for path in clips) <= 3 * size + size // 2
    assert link.is_symlink()
    assert all((tmp_path / name).stat().st_size == 50_000 for name in [*others, "outside.flac"])
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_clip_above_the_limit_is_one_note(tmp_path: Path) -> None:
    lines = record(tmp_path, *["-", "rain", "rain", "-", "-", "-"] * 4, limit=10)
    assert len(lines) == 1
    assert "more than the limit, 10 bytes" in lines[0]
    assert kept(tmp_path) == []


def test_a_full_disk_is_one_note_and_not_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, failing = write_bytes, True

    def fail(path: Path, data: bytes, mode: int) -> None:
        if failing:
            raise OutputError(f"{path}: cannot be written (No space left on device)")
        write(path, data, mode)

    monkeypatch.setattr(module, "write_bytes", fail)
    lines: list[str] = []
    sink, others = Clips(tmp_path, 0.5, 10**6, RATE, 0.5, lines.append), Collector()
    listener = make_listener(sink, others)
    listener.push(steps(*["-", "rain", "rain", "-", "-", "-"] * 3))
    listener.finish()
    sink.close()
    assert len(lines) == 1
    assert "No space left" in lines[0]
    assert len(others.ended) == 3
    failing = False
    assert record(tmp_path, "-", "rain", "rain", "-") == []
    assert len(kept(tmp_path)) == 1


def test_a_disk_that_is_too_slow_loses_clips_and_delays_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(module, "write_bytes", lambda *_: released.wait(60))
    lines: list[str] = []
    sink = Clips(tmp_path, 0.25, 10**6, RATE, 0.5, lines.append)
    listener = make_listener(sink)
    listener.push(steps(*["-", "rain", "rain", "-", "-", "-"] * (module.WAITING + 5)))
    assert lines == ["a clip was not kept: the disk is too slow"]
    released.set()
    sink.close()


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_nobody_else_can_read_the_clips(tmp_path: Path) -> None:
    record(tmp_path / "new/clips", "-", "rain", "rain", "-")
    assert (tmp_path / "new/clips").stat().st_mode & 0o777 == 0o700
    assert kept(tmp_path / "new/clips")[0].stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        record(tmp_path / "file/clips", "-")


def test_names_of_one_moment_differ(tmp_path: Path) -> None:
    lines: list[str] = []
    for _ in range(3):
        sink = Clips(tmp_path, 0.5, 10**6, RATE, 0.5, lines.append)
        listener = make_listener(sink, clock=lambda: datetime(2026, 1, 1, 12, tzinfo=UTC))
        listener.push(steps("rain", "rain", "-"))
        sink.close()
    names = [path.name for path in kept(tmp_path)]
    assert len(names) == 3
    assert "edge-asc-clip-20260101T115959250+0000-2-rain.flac" in names


def test_memory_is_that_of_the_ring(tmp_path: Path) -> None:
    sink = Clips(tmp_path, 0.5, 10**6, RATE, 0.5, print)
    listener = make_listener(sink)
    for _ in range(100):
        listener.push(steps("-", "-"))
    assert len(sink._recent) <= 6
    listener.finish()
    sink.close()
