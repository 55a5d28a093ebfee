"""An hour of audio, from a file and from a pipe, takes no more memory than a minute; `make day` streams 24 hours."""

from __future__ import annotations

from pathlib import Path

import pytest

from long.streaming import HOUR, MINUTE, Run, stream_file, stream_pipe

if not Path("/proc/self/statm").exists():
    pytest.skip("the memory of a process is read from /proc", allow_module_level=True)

POINTS = (MINUTE, HOUR - 1)
GROWTH = 8.0  # MiB that an allocator may take later


def check(run: Run) -> None:
    assert run.decisions == HOUR * 1000 // 256
    assert run.memory[HOUR - 1] < run.memory[MINUTE] + GROWTH


@pytest.mark.slow
def test_an_hour_of_a_file_takes_no_more_memory_than_a_minute(tmp_path: Path) -> None:
    check(stream_file(tmp_path, HOUR, POINTS))


@pytest.mark.slow
def test_an_hour_of_a_pipe_takes_no_more_memory_than_a_minute() -> None:
    check(stream_pipe(HOUR, POINTS))
