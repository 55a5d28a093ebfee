"""Time a C artefact against another runtime with the front end of Python, from samples to logits, on this machine.

    python tools/c_speed.py FILE.c OTHER

Both run in turns on the same samples. The result is a ratio of medians: times of a busy machine say little.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edge_asc.engine import open_runtime
from edge_asc.engines.c import CRuntime
from edge_asc.frontend import LogMel
from edge_asc.streaming import Stream

# Decisions of a run, and runs of each side.
DECISIONS = 40
RUNS = 101


def main() -> None:
    """Print the times of both sides and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("c", type=Path, metavar="FILE.c")
    parser.add_argument("other", type=Path, metavar="OTHER", help="an artefact of the same model that takes features")
    paths = parser.parse_args()
    compiled, other = CRuntime(paths.c), open_runtime(paths.other)
    stream, front_end = Stream(other, "step"), LogMel(other.contract.front_end)
    step = compiled.signature.samples
    samples = np.random.default_rng(0).integers(-8192, 8192, DECISIONS * step).astype(np.int16)
    audio = samples.astype(np.float32) / np.float32(2**15)
    parts = np.split(audio, DECISIONS)

    def run_python() -> None:
        stream.reset()
        front_end.reset()
        for part in parts:
            stream.feed(front_end.push(part))

    times: dict[str, list[float]] = {"c": [], "python": []}
    for _ in range(RUNS):
        times["c"].append(measure(lambda: compiled.listen(samples)))
        times["python"].append(measure(run_python))
    c, python = (statistics.median(each) / DECISIONS * 1e6 for each in times.values())
    print(f"{compiled.engine}: {c:.1f} us; {other.engine} with the front end of Python: {python:.1f} us")
    print(f"a decision of C takes 1 / {python / c:.2f} of the time")


def measure(run: Callable[[], object]) -> float:
    """Return the time of a call, s."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
