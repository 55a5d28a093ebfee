"""Interrupts commands at random moments and checks what is left: `python tests/interruption/harness.py [MOMENTS]`.

Each moment: a command runs, a signal ends it, no process of it is there two seconds later, the artefacts that were
there before are whole, the same command then succeeds, and nothing but its results is left in the folder.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from edge_asc.data.generated import write_scenes
from edge_asc.files import sha256
from edge_asc.manifest import Manifest, verify

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
ORPHAN_LIMIT = 2.0
COMMAND_LIMIT = 900.0
MARK = "EDGE_ASC_INTERRUPTION"


@dataclass
class Tally:
    """Counts of a series of interruptions.

    Attributes:
        moments: interruptions that hit a running command.
        late: commands that had ended before their moment.
        slowest: the longest that a process outlived its parent, s.
        failures: descriptions of what was wrong.
    """

    moments: int = 0
    late: int = 0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Command:
    """A command to interrupt.

    Attributes:
        name: of the series.
        arguments: of `edge-asc`.
        again: added where the command continues an interrupted one.
        output: folder of its results.
        check: returns what is wrong with the results that are in the folder; "" if nothing is.
        seconds: that it takes.
    """

    name: str
    arguments: tuple[str, ...]
    again: tuple[str, ...]
    output: Path
    check: Callable[[Path], str]
    seconds: float


def interrupt(command: Command, number: signal.Signals, delay: float, tally: Tally, scratch: Path) -> None:
    """Interrupt a command once after a delay, s, and add to the tally what is wrong."""
    label = f"{command.name}, {number.name} after {delay:.2f} s"
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    process = start(command, (), mark, scratch)
    try:
        process.wait(delay)
        tally.late += 1
    except subprocess.TimeoutExpired:
        tally.moments += 1
        process.send_signal(number)
    begun = time.monotonic()
    # Ctrl-C and SIGTERM let the command clean up; what it has started may live as long as it does, and two seconds.
    while process.poll() is None and time.monotonic() - begun < COMMAND_LIMIT:
        time.sleep(0.02)
    ended = time.monotonic()
    while (left := find_processes(mark)) and time.monotonic() - ended < ORPHAN_LIMIT:
        time.sleep(0.02)
    tally.slowest = max(tally.slowest, time.monotonic() - ended)
    if left:
        tally.failures.append(f"{label}: {len(left)} processes outlived it: {left}")
        for orphan in left:
            with suppress(ProcessLookupError):
                os.kill(orphan, signal.SIGKILL)
    if wrong := command.check(command.output):
        tally.failures.append(f"{label}: {wrong}")


def finish(command: Command, tally: Tally, scratch: Path) -> None:
    """Run the command to its end, and add to the tally what is wrong."""
    process = start(command, command.again, "finish", scratch)
    code = process.wait(COMMAND_LIMIT)
    if code:
        tally.failures.append(f"{command.name}: exit code {code} again: {(scratch / 'log').read_text()[-400:]}")
        return
    if wrong := command.check(command.output):
        tally.failures.append(f"{command.name}: when run again: {wrong}")
    remains = [
        str(path)
        for root in (command.output, command.output.parent, scratch)
        if root.is_dir()
        for path in root.iterdir()
        if path.name.startswith((".edge-asc", "edge-asc-", "tmp"))
    ]
    if remains:
        tally.failures.append(f"{command.name}: left when run again: {remains}")


def start(command: Command, more: tuple[str, ...], mark: str, scratch: Path) -> subprocess.Popen[bytes]:
    """Start a command whose processes carry a mark."""
    environment = {**os.environ, MARK: mark, "TMPDIR": str(scratch), "OMP_NUM_THREADS": "1"}
    with (scratch / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "edge_asc", *command.arguments, *more],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def find_processes(mark: str) -> list[int]:
    """Return the running processes whose environment carries a mark."""
    wanted, numbers = f"{MARK}={mark}".encode(), []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                state = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
                if state not in "ZX" and wanted in (folder / "environ").read_bytes().split(b"\0"):
                    numbers.append(int(folder.name))
    return numbers


def check_bundle(output: Path) -> str:
    """Return what is wrong with the artefacts of a bundle, if there is one."""
    if not (output / "manifest.json").exists():
        return ""
    for name in Manifest.read(output).files:
        if not (output / name).is_file():
            return f"{name} is missing"
        verify(output / name)
    return ""


def check_checkpoint(output: Path) -> str:
    """Return what is wrong with a checkpoint, if there is one."""
    path = output / "checkpoint.json"
    if path.exists() and json.loads(path.read_text())["weights_sha256"] != sha256(output / "weights.safetensors"):
        return "the weights are not those of checkpoint.json"
    return ""


def run_exports(folder: Path, moments: int, generator: random.Random, seconds: float = 0.0) -> Tally:
    """Interrupt exports of `fuse` in int8 that replace an earlier export."""
    tally, scratch = Tally(), folder / "temporary"
    scratch.mkdir()
    arguments = ("export", "fuse", "--quantize", "int8", "--output", str(folder / "out/fuse"))
    command = Command("export", arguments, (), folder / "out/fuse", check_bundle, seconds)
    begun = time.monotonic()
    finish(command, tally, scratch)
    seconds = seconds or time.monotonic() - begun
    for number, delay in draw(moments, seconds, generator):
        interrupt(command, number, delay, tally, scratch)
    finish(command, tally, scratch)
    return tally


def run_trainings(folder: Path, moments: int, generator: random.Random) -> Tally:
    """Interrupt trainings, each resumed to its end, and compare the weights with those of a whole one."""
    tally, scratch = Tally(), folder / "temporary"
    scratch.mkdir()
    write_scenes(folder / "data", 2, 0, seconds=1.0)
    settings = ("train", str(folder / "data"), "--recipe", "paper", "--no-auxiliary", "--epochs", "2", "--threads", "1")
    os.environ["EDGE_ASC_CACHE"] = str(folder / "cache")

    def describe(name: str) -> Command:
        output = folder / f"out/{name}"
        arguments = (*settings, "--output", str(output))
        return Command("train", arguments, ("--resume",), output, check_checkpoint, 0.0)

    whole = describe("whole")
    finish(whole, tally, scratch)
    begun = time.monotonic()
    finish(describe("timed"), tally, scratch)
    seconds = time.monotonic() - begun
    expected = sha256(whole.output / "weights.safetensors") if not tally.failures else ""
    for i, (number, delay) in enumerate(draw(moments, seconds, generator)):
        command = describe(f"cut{i}")
        interrupt(command, number, delay, tally, scratch)
        finish(command, tally, scratch)
        weights = command.output / "weights.safetensors"
        if not weights.exists() or sha256(weights) != expected:
            tally.failures.append(f"train, {number.name} after {delay:.2f} s: the resumed training has other weights")
    return tally


def draw(moments: int, seconds: float, generator: random.Random) -> Iterator[tuple[signal.Signals, float]]:
    """Yield a signal and a delay for each moment."""
    for i in range(moments):
        yield SIGNALS[i % len(SIGNALS)], generator.uniform(0.0, seconds)


def main(moments: int = 100) -> int:
    """Run both series, print their tallies, and return the number of failures."""
    failures = 0
    for run in (run_exports, run_trainings):
        with tempfile.TemporaryDirectory() as folder:
            tally = run(Path(folder), moments // 2, random.Random(moments))
        failures += len(tally.failures)
        print(
            f"{run.__name__}: {tally.moments} interrupted, {tally.late} had ended; the last process ended within "
            f"{tally.slowest:.2f} s; {len(tally.failures)} failures",
            flush=True,
        )
        print("".join(f"  {failure}\n" for failure in tally.failures), end="", flush=True)
    return failures


if __name__ == "__main__":
    sys.exit(min(main(*map(int, sys.argv[1:])), 1))
