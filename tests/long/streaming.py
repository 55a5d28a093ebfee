"""Streams hours of audio through `edge-asc classify`, from a file and a pipe: python tests/long/streaming.py [HOURS].

Reports the resident memory of the process at points of the audio, the time to the first decision and the whole time.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from edge_asc.data.layouts.tau import TAU_LABELS
from edge_asc.data.scenes import SAMPLE_RATE, generate_scene

MODEL = "fuse-int8"
MINUTE, HOUR = 60, 3600


@dataclass(frozen=True)
class Run:
    """One stream.

    Attributes:
        first: time from the start of the process to its first decision, s.
        busy: processor time until then, s: what an idle machine would take, about.
        whole: time until it ended, s.
        decisions: number of decisions.
        memory: resident memory, MiB, when each point of the audio, s, was decided.
    """

    first: float
    busy: float
    whole: float
    decisions: int
    memory: dict[int, float]

    def __str__(self) -> str:
        points = ", ".join(f"{mebibytes:.1f} MiB at {point / HOUR:.4g} h" for point, mebibytes in self.memory.items())
        first = f"the first after {self.first:.2f} s ({self.busy:.2f} s of a processor)"
        return f"{self.decisions} decisions in {self.whole:.0f} s, {first}; {points}"


def make_scenes() -> bytes:
    """Return ten generated scenes, one of each label, as 16-bit samples: 100 s that a stream repeats."""
    scenes = np.concatenate([generate_scene(label, seed) for seed, label in enumerate(TAU_LABELS)])
    return np.round(scenes * 32767).astype("<i2").tobytes()


def write_wav(file: BinaryIO, seconds: int) -> None:
    """Write a WAV of generated scenes, which repeat, at 16 kHz."""
    size, scenes = 2 * SAMPLE_RATE * seconds, make_scenes()
    head = struct.pack("<IHHIIHH", 16, 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)
    file.write(b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + head + b"data" + struct.pack("<I", size))
    for begin in range(0, size, len(scenes)):
        file.write(scenes[: size - begin])


def stream_file(folder: Path, seconds: int, points: Sequence[int]) -> Run:
    """Stream a file, which is made in `folder`."""
    path = folder / "stream.wav"
    try:
        with path.open("wb") as file:
            write_wav(file, seconds)
        return _watch(_start(str(path)), points)
    finally:
        path.unlink(missing_ok=True)


def stream_pipe(seconds: int, points: Sequence[int]) -> Run:
    """Stream the same through the standard input."""
    process = _start("-")
    assert process.stdin is not None
    feeder = threading.Thread(target=_feed, args=(process.stdin, seconds))
    feeder.start()
    try:
        return _watch(process, points)
    finally:
        feeder.join()


def _feed(pipe: BinaryIO, seconds: int) -> None:
    with suppress(BrokenPipeError), pipe:  # its reader's exit status says what went wrong
        write_wav(pipe, seconds)


def _start(recording: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "edge_asc", "classify", recording, "--model", MODEL, "--quiet"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _watch(process: subprocess.Popen[bytes], points: Sequence[int]) -> Run:
    """Read the decisions of a process, and its memory at points of the audio."""
    begun, first, busy, decisions = time.monotonic(), 0.0, 0.0, 0
    left, memory = list(points), {}
    with process:
        for seconds in _decided(process):
            decisions += 1
            if decisions == 1:
                first, busy = time.monotonic() - begun, _busy(process.pid)
            if left and seconds >= left[0]:
                memory[left.pop(0)] = _resident(process.pid)
    if process.returncode:
        raise RuntimeError(f"edge-asc classify ended with exit code {process.returncode}")
    return Run(first, busy, time.monotonic() - begun, decisions, memory)


def _decided(process: subprocess.Popen[bytes]) -> Iterator[float]:
    """Yield the time of each decision, s of audio."""
    assert process.stdout is not None
    for line in process.stdout:
        if not line.startswith(b"summary"):
            yield float(line.split()[0])


def _busy(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main(hours: float = 24.0) -> None:
    """Stream so much audio from a file and from a pipe, and print both."""
    end = round(hours * HOUR)
    # The last decision comes up to 256 ms before the end.
    points = sorted({MINUTE, HOUR, end // 2, end - 1} & set(range(end)))
    with tempfile.TemporaryDirectory() as folder:
        print("file:", stream_file(Path(folder), end, points), flush=True)
    print("pipe:", stream_pipe(end, points), flush=True)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
