"""A process that only loads and runs one model: `python -m edge_asc_bench.worker`, a JSON command a line on stdin.

Everything is imported when a command needs it, so that the memory of the interpreter, of the runtime and of the model
can be told apart.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PAGE = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
SECONDS = 10


class Worker:
    """One model in one process."""

    def __init__(self) -> None:
        self.bare = _status("VmRSS")
        self._decide: Callable[[int], tuple[int, int]]
        self._count = 0

    def open(self, path: str, threads: int, seconds: int | None) -> dict[str, Any]:
        """Load a model and decide once: the cold start."""
        import numpy as np

        from edge_asc.data.scenes import generate_scene
        from edge_asc.frontend import LogMel
        from edge_asc.runtimes import open_runtime

        audio = generate_scene("park", 0, SECONDS)
        LogMel()(audio[:16000])  # the front end's own start is not the model's
        self._import(path)
        imported = _status("VmRSS")
        reset = _reset_peak()
        begun = time.perf_counter_ns()
        runtime = open_runtime(path, threads=threads)
        self._decide = _windows(runtime, audio, seconds) if seconds else _steps(runtime, audio)
        loaded = time.perf_counter_ns()
        self._decide(0)
        done = time.perf_counter_ns()
        return {
            "engine": runtime.engine,
            "load_ms": (loaded - begun) / 1e6,
            "cold_start_ms": (done - begun) / 1e6,
            "bare": self.bare,
            "imported": imported,
            "peak_reset": reset,
            "numpy": np.__version__,
        }

    def run(self, count: int) -> dict[str, Any]:
        """Decide `count` times; the times of front end and model, ns."""
        pairs = []
        for _ in range(count):
            self._count += 1
            pairs.append(self._decide(self._count))
        front_end, model = zip(*pairs, strict=True)
        return {"front_end": front_end, "model": model}

    def memory(self) -> dict[str, Any]:
        """Peak resident set since the model was opened, bytes; None where the system does not tell."""
        return {"peak": _status("VmHWM"), "now": _status("VmRSS")}

    def _import(self, path: str) -> None:
        """Import the engine that will run `path`, without opening it."""
        from importlib import import_module

        names = {".onnx": ("onnxruntime",), ".tflite": ("ai_edge_litert.interpreter",)}.get(Path(path).suffix)
        for name in names or ("torch", "edge_asc.training.checkpoint"):
            try:
                import_module(name)
            except ImportError:
                continue  # opening says what is missing, or finds a substitute


def _steps(runtime: Any, audio: Any) -> Callable[[int], tuple[int, int]]:
    from edge_asc.frontend import LogMel
    from edge_asc.streaming import StreamingClassifier

    classifier, log_mel = StreamingClassifier(runtime), LogMel(runtime.contract.front_end)
    size = runtime.contract.signature("step").samples
    chunks = [audio[i : i + size] for i in range(0, len(audio) - size + 1, size)]

    def decide(index: int) -> tuple[int, int]:
        chunk = chunks[index % len(chunks)]
        begun = time.perf_counter_ns()
        frames = log_mel.push(chunk)
        middle = time.perf_counter_ns()
        classifier.push_features(frames)
        return middle - begun, time.perf_counter_ns() - middle

    return decide


def _windows(runtime: Any, audio: Any, seconds: int) -> Callable[[int], tuple[int, int]]:
    from edge_asc.frontend import LogMel
    from edge_asc.streaming import WindowedClassifier

    classifier, log_mel = WindowedClassifier(runtime, seconds), LogMel(runtime.contract.front_end)
    window = audio[: seconds * runtime.contract.front_end.sample_rate]

    def decide(_: int) -> tuple[int, int]:
        begun = time.perf_counter_ns()
        frames = log_mel(window)
        middle = time.perf_counter_ns()
        classifier.push_features(frames)
        return middle - begun, time.perf_counter_ns() - middle

    return decide


def _status(field: str) -> int | None:
    """A size of this process, bytes."""
    try:
        lines = PAGE.read_text().splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith(f"{field}:")), None)
    return int(found.split()[1]) * 1024 if found else None


def _reset_peak() -> bool:
    """Make the peak start from here; False where the system has no such thing."""
    try:
        CLEAR.write_text("5")
    except OSError:
        return False
    return True


def main() -> None:
    """Answer commands until stdin ends."""
    worker = Worker()
    actions: dict[str, Callable[..., dict[str, Any]]] = {
        "open": worker.open,
        "run": worker.run,
        "memory": worker.memory,
    }
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # an engine that prints must not break the protocol
    for line in sys.stdin:
        command = json.loads(line)
        try:
            reply = actions[command.pop("do")](**command)
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}" if not str(error) else str(error)}
        print(json.dumps(reply), file=answers, flush=True)


if __name__ == "__main__":
    main()
