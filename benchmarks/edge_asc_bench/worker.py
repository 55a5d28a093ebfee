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
from importlib import import_module
from pathlib import Path
from typing import Any

PAGE = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")

Decide = Callable[[int], tuple[int | None, int, int]]


class Worker:
    """One model in one process."""

    def __init__(self) -> None:
        self.bare = _status("VmRSS")
        self._runtime: Any = None
        self._seconds: int | None = None
        self._decide: Decide
        self._count = 0

    def open(self, path: str, threads: int, seconds: int | None, audio: str) -> dict[str, Any]:
        """Load a model and decide once: the cold start. `seconds` is of the window, None for a step."""
        import numpy as np

        from edge_asc.engine import open_runtime
        from edge_asc.frontend import LogMel

        samples = np.load(audio)
        if _has_scipy():
            LogMel()(samples[:16000])  # the front end's own start is not the model's
        front_end = _status("VmRSS")
        self._import(path)
        imported = _status("VmRSS")
        reset = _reset_peak()
        begun = time.perf_counter_ns()
        runtime = open_runtime(path, threads=threads)
        self._runtime, self._seconds = runtime, seconds
        self._decide = _windows(runtime, samples, seconds) if seconds else _steps(runtime, samples)
        loaded = time.perf_counter_ns()
        self._decide(0)
        done = time.perf_counter_ns()
        return {
            "engine": runtime.engine,
            "load_ms": (loaded - begun) / 1e6,
            "cold_start_ms": (done - begun) / 1e6,
            "bare": self.bare,
            "front_end": front_end,
            "imported": imported,
            "peak_reset": reset,
        }

    def run(self, count: int) -> dict[str, Any]:
        """Decide `count` times; the times of front end and model, and of the engine's own calls in the model's, ns."""
        times = []
        for _ in range(count):
            self._count += 1
            times.append(self._decide(self._count))
        front_end, model, engine = zip(*times, strict=True)
        return {"front_end": None if None in front_end else front_end, "model": model, "engine": engine}

    def hear(self, features: str, frames: list[int], output: str) -> dict[str, Any]:
        """Write the logits of clips: (steps of all, classes), or a row for each clip that is as long as the window."""
        import numpy as np

        from edge_asc.evaluation.logits import clip_logits

        clips = np.split(np.load(features, mmap_mode="r"), np.cumsum(frames)[:-1])
        logits = clip_logits(self._runtime, clips, [self._seconds] if self._seconds else ())
        np.save(output, np.concatenate(logits))
        return {"rows": [len(rows) for rows in logits]}

    def memory(self) -> dict[str, Any]:
        """Peak resident set since the model was opened, bytes; None where the system does not tell."""
        return {"peak": _status("VmHWM"), "now": _status("VmRSS")}

    @staticmethod
    def _import(path: str) -> None:
        """Import the engine that will run `path`, without opening it."""
        from edge_asc.training.checkpoint import is_checkpoint

        engines = {".onnx": ("onnxruntime",), ".tflite": ("ai_edge_litert.interpreter",)}
        names: tuple[str, ...] = engines.get(Path(path).suffix, ())
        if is_checkpoint(Path(path)):
            names = ("torch", "edge_asc.training.checkpoint")
        for name in names:
            try:
                import_module(name)
            except ImportError:
                continue  # opening says what is missing, or finds a substitute


def _steps(runtime: Any, audio: Any) -> Decide:
    from edge_asc.streaming import StreamingClassifier

    classifier, log_mel = StreamingClassifier(runtime), _front_end(runtime)
    size, frames = (getattr(runtime.contract.signature("step"), name) for name in ("samples", "frames"))
    if log_mel is None:
        features = _noise(runtime, len(audio) // size * frames)
        return _timed(None, classifier, _chunks(features, frames))
    return _timed(log_mel.push, classifier, _chunks(audio, size))


def _windows(runtime: Any, audio: Any, seconds: int) -> Decide:
    from edge_asc.streaming import WindowedClassifier

    classifier, log_mel = WindowedClassifier(runtime, seconds), _front_end(runtime)
    signature = runtime.contract.signature(f"window_{seconds}s")
    if log_mel is None:
        return _timed(None, classifier, [_noise(runtime, signature.frames)])
    window = audio[: seconds * runtime.contract.front_end.sample_rate]
    return _timed(log_mel, classifier, [window])


def _chunks(values: Any, size: int) -> list[Any]:
    """Whole chunks of `size` along the first axis."""
    return [values[i : i + size] for i in range(0, len(values) - size + 1, size)]


def _timed(front_end: Callable[[Any], Any] | None, classifier: Any, chunks: list[Any]) -> Decide:
    """A decision on one chunk after another: the times of front end (None without one), model and engine, ns."""
    spent = 0

    def watched(call: Callable[[], None]) -> Callable[[], None]:
        def timed() -> None:
            nonlocal spent
            begun = time.perf_counter_ns()
            call()
            spent += time.perf_counter_ns() - begun

        return timed

    for loop in classifier.loops:
        loop.call = watched(loop.call)

    def decide(index: int) -> tuple[int | None, int, int]:
        nonlocal spent
        spent, frames = 0, chunks[index % len(chunks)]
        begun = time.perf_counter_ns()
        if front_end is not None:
            frames = front_end(frames)
        middle = time.perf_counter_ns()
        classifier.push_features(frames)
        model = time.perf_counter_ns() - middle
        return middle - begun if front_end is not None else None, model, spent

    return decide


def _front_end(runtime: Any) -> Any:
    """The model's front end; None without scipy, which it computes with: then the model alone is measured."""
    from edge_asc.frontend import LogMel

    return LogMel(runtime.contract.front_end) if _has_scipy() else None


def _has_scipy() -> bool:
    try:
        import_module("scipy")
    except ImportError:
        return False
    return True


def _noise(runtime: Any, frames: int) -> Any:
    """Normalised features of no sound in particular, (frames, mels)."""
    import numpy as np

    shape = (frames, runtime.contract.front_end.mels)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


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
        "hear": worker.hear,
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
