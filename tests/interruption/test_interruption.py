"""A command that a signal ends leaves no process, and the next one removes what it left; `make interrupt` does more."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_asc.scratch import remove_leftovers
from interruption.harness import MARK, find_processes

if not Path("/proc/self/environ").exists():
    pytest.skip("processes are found by /proc", allow_module_level=True)

# Generous: an end takes well below two seconds on an idle machine.
LIMIT = 180.0


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    """Wait for something that a running command does."""
    end = time.monotonic() + 300.0
    while not condition():
        assert process.poll() is None, "the command ended before it was interrupted"
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_benchmark_that_is_ended_leaves_no_process(number: signal.Signals, tmp_path: Path) -> None:
    """Started in a folder with files named like modules of the standard library."""
    scratch, mark = tmp_path / "temporary", f"test-{os.getpid()}-{number.name}"
    scratch.mkdir()
    for name in ("signal.py", "secrets.py", "json.py"):
        (tmp_path / name).write_text("raise SystemExit('a file of the user was imported')")
    command = [sys.executable, "-P", "-m", "edge_asc", "bench", "fuse", "--rounds", "100000", "--lengths", "1"]
    environment = {**os.environ, MARK: mark, "TMPDIR": str(scratch), "OMP_NUM_THREADS": "1"}
    environment["EDGE_ASC_CACHE"] = str(tmp_path / "cache")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        events = scratch.glob
        wait_until(lambda: any('"times"' in path.read_text() for path in events(".edge-asc-*/events.jsonl")), process)
        assert len(find_processes(mark)) == 4, "the command, its runner, the shell that watches it and a worker"
        process.send_signal(number)
        process.wait(LIMIT)
        end = time.monotonic() + LIMIT
        while (left := find_processes(mark)) and time.monotonic() < end:
            time.sleep(0.05)
        assert not left
    finally:
        process.kill()
        process.wait()
        for orphan in find_processes(mark):
            os.kill(orphan, signal.SIGKILL)
    remove_leftovers(scratch)  # as the next command does
    assert not list(scratch.iterdir())
