"""What runs on a board: streams artefacts and writes their logits, or marks each part of a decision to be counted.

`python -m edge_asc_arm.guest FOLDER` reads `task.json` there. Needs what a device needs.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from edge_asc.engine import open_runtime
from edge_asc.evaluation.logits import stream_logits
from edge_asc.frontend import LogMel
from edge_asc.runtime import Runtime
from edge_asc.streaming import StreamingClassifier

TASK, AUDIO, FEATURES, REPORT = "task.json", "audio.npy", "features.npy", "report.json"
MARK = 0xEA5C
# What a mark stands for; an artefact's marks are its index times 16, and one of these.
NOTHING, BEGIN, HEARD, DECIDED, ENTERED, LEFT = range(6)
MARKS = 16
WARM_UP, DECISIONS = 4, 15
PACKAGES = ("ai-edge-litert", "numpy", "onnxruntime", "scipy")


def mark(number: int) -> None:
    """Tell the counting emulator where the program is: a system call that fails and does nothing."""
    with suppress(OSError):
        os.getpriority(MARK, number)


def between_marks(call: Callable[[], None], index: int) -> Callable[[], None]:
    """An engine's own call, marked before and after."""

    def marked() -> None:
        mark(MARKS * index + ENTERED)
        call()
        mark(MARKS * index + LEFT)

    return marked


def hear(folder: Path, artefacts: list[str]) -> dict[str, Any]:
    """Write each artefact's logits for a clip, and the front end's features of it."""
    audio, features = np.load(folder / AUDIO), np.load(folder / FEATURES)
    engines = []
    for i, path in enumerate(artefacts):
        runtime = open_runtime(path)
        engines.append(runtime.engine)
        (logits,) = stream_logits(runtime, [features])
        np.save(folder / f"logits-{i}.npy", logits)
    np.save(folder / "heard.npy", LogMel()(audio))
    return {"engines": engines}


def count(folder: Path, artefacts: list[str]) -> dict[str, Any]:
    """Decide some times with each artefact, with marks before and after each part."""
    audio = np.load(folder / AUDIO)
    engines = []
    for i, path in enumerate(artefacts):
        runtime = open_runtime(path)
        engines.append(runtime.engine)
        size = runtime.contract.signature("step").samples
        chunks = [audio[k * size : (k + 1) * size] for k in range(WARM_UP + DECISIONS)]
        _decide(StreamingClassifier(runtime), runtime, chunks, MARKS * i)
        # The engine's share is counted in a run of its own: marks in the way would add to the others.
        marked = StreamingClassifier(runtime)
        (loop,) = marked.loops
        loop.call = between_marks(loop.call, i)
        _decide(marked, runtime, chunks)
        for _ in range(DECISIONS):
            mark(MARKS * i + NOTHING)
    return {"engines": engines}


def _decide(classifier: StreamingClassifier, runtime: Runtime, chunks: list[Any], number: int = -1) -> None:
    """Push chunks through front end and model; after the first ones with marks around both, given a number for them."""
    log_mel = LogMel(runtime.contract.front_end)
    for k, chunk in enumerate(chunks):
        counted = number >= 0 and k >= WARM_UP
        if counted:
            mark(number + BEGIN)
        frames = log_mel.push(chunk)
        if counted:
            mark(number + HEARD)
        classifier.push_features(frames)
        if counted:
            mark(number + DECIDED)


def main() -> None:
    """Do the task in a folder."""
    folder = Path(sys.argv[1])
    task = json.loads((folder / TASK).read_text())
    done = {"hear": hear, "count": count}[task["do"]](folder, task["artefacts"])
    told = {"machine": platform.machine(), "python": platform.python_version(), "packages": _packages(), **done}
    (folder / REPORT).write_text(json.dumps(told))


def _packages() -> dict[str, str]:
    """What computes a decision, with versions."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


if __name__ == "__main__":
    main()
