"""A process that loads and runs one model: `python -m edge_asc_bench.worker`, a request a line on stdin.

Everything is imported when a request needs it, so that the memory of the interpreter, of the engine and of the model
can be reported separately.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from edge_asc_bench.events import (
    Decide,
    Evaluate,
    Event,
    Failed,
    LogitsWritten,
    MemoryRead,
    Open,
    Opened,
    ReadMemory,
    Request,
    TimesMeasured,
    decode_request,
    encode,
)

if TYPE_CHECKING:
    from edge_asc.frontend import Array, LogMel
    from edge_asc.runtime import Runtime
    from edge_asc.streaming import StreamingClassifier, WindowedClassifier

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
# From the end of stdin to the end of a process that is still at a request, s.
GRACE = 1.0

TimedDecision = Callable[[int], tuple[int | None, int, int]]
"""Decides on the chunk of an index: the times of front end (None inside the model), model and engine, ns."""


class Worker:
    """One model in one process."""

    def __init__(self) -> None:
        self._bare = _read_status("VmRSS")
        self._task = -1
        self._runtime: Runtime
        self._seconds: int | None = None
        self._decide: TimedDecision
        self._count = 0

    def reply(self, request: Request) -> Event:
        """Do what a request asks for."""
        match request:
            case Open():
                return self.open(request)
            case Decide():
                return self.decide(request.count)
            case Evaluate():
                return self.evaluate(request)
            case ReadMemory():
                return MemoryRead(self._task, _read_status("VmHWM"), _read_status("VmRSS"))
        raise ValueError(f"no such request: {request}")

    def open(self, request: Open) -> Opened:
        """Load a model and decide once: the cold start."""
        import numpy as np

        from edge_asc.engine import open_runtime
        from edge_asc.frontend import LogMel

        samples = np.load(request.audio)
        LogMel()(samples[:16000])  # the front end's own start is not the model's
        front_end = _read_status("VmRSS")
        _import_engine(Path(request.path))
        imported = _read_status("VmRSS")
        peak_reset = _reset_peak()
        begun = time.perf_counter_ns()
        runtime = open_runtime(request.path, threads=request.threads)
        self._task, self._runtime, self._seconds = request.task, runtime, request.seconds
        self._decide = (
            _time_windows(runtime, samples, request.seconds) if request.seconds else _time_steps(runtime, samples)
        )
        loaded = time.perf_counter_ns()
        self._decide(0)
        done = time.perf_counter_ns()
        return Opened(
            task=request.task,
            engine=runtime.engine,
            load_ms=(loaded - begun) / 1e6,
            cold_start_ms=(done - begun) / 1e6,
            bare=self._bare,
            front_end=front_end,
            imported=imported,
            peak_reset=peak_reset,
        )

    def decide(self, count: int) -> TimesMeasured:
        """Decide `count` times."""
        times = []
        for _ in range(count):
            self._count += 1
            times.append(self._decide(self._count))
        front_end, model, engine = zip(*times, strict=True)
        return TimesMeasured(self._task, None if None in front_end else front_end, model, engine)

    def evaluate(self, request: Evaluate) -> LogitsWritten:
        """Write the logits of clips: of every step, or one row for each clip that is as long as the window."""
        import numpy as np

        from edge_asc.evaluation.logits import check_finite, clip_logits

        takes_features = self._runtime.contract.input == "features"
        file, counts = (request.features, request.frames) if takes_features else (request.samples, request.counts)
        clips = np.split(np.load(file, mmap_mode="r"), np.cumsum(counts)[:-1])
        logits = clip_logits(self._runtime, clips, [self._seconds] if self._seconds else ())
        check_finite(logits)
        np.save(request.output, np.concatenate(logits))
        return LogitsWritten(self._task, Path(request.output).name, tuple(len(rows) for rows in logits))


def _import_engine(path: Path) -> None:
    """Import the package of the engine that runs `path`, without opening the model."""
    from edge_asc.engine import find_engine

    _, engine = find_engine(path)
    for name in engine.preload or (engine.module,):
        try:
            import_module(name)
        except ImportError:
            continue  # opening the model reports what is missing, or uses a substitute


def _time_steps(runtime: Runtime, audio: Array) -> TimedDecision:
    from edge_asc.streaming import StreamingClassifier

    classifier, log_mel = StreamingClassifier(runtime), _make_front_end(runtime)
    chunks = _split(audio, runtime.contract.signature("step").samples)
    return _time(None if log_mel is None else log_mel.push, classifier, chunks)


def _time_windows(runtime: Runtime, audio: Array, seconds: int) -> TimedDecision:
    from edge_asc.streaming import WindowedClassifier

    classifier, log_mel = WindowedClassifier(runtime, seconds), _make_front_end(runtime)
    if log_mel is None:
        return _time(None, classifier, [audio[: runtime.contract.signature(f"window_{seconds}s").samples]])
    return _time(log_mel, classifier, [audio[: seconds * runtime.contract.front_end.sample_rate]])


def _split(values: Array, size: int) -> list[Array]:
    """Whole chunks of `size` along the first axis."""
    return [values[i : i + size] for i in range(0, len(values) - size + 1, size)]


def _time(
    front_end: Callable[[Array], Array] | None,
    classifier: StreamingClassifier | WindowedClassifier,
    chunks: Sequence[Array],
) -> TimedDecision:
    """A function that decides on one chunk after another, and measures its parts."""
    spent = 0

    def measure(call: Callable[[], None]) -> Callable[[], None]:
        def timed() -> None:
            nonlocal spent
            begun = time.perf_counter_ns()
            call()
            spent += time.perf_counter_ns() - begun

        return timed

    for loop in classifier.loops:
        loop.call = measure(loop.call)

    def decide(index: int) -> tuple[int | None, int, int]:
        nonlocal spent
        spent, value = 0, chunks[index % len(chunks)]
        begun = time.perf_counter_ns()
        if front_end is not None:
            value = front_end(value)
        middle = time.perf_counter_ns()
        classifier.push_input(value)
        model = time.perf_counter_ns() - middle
        return middle - begun if front_end is not None else None, model, spent

    return decide


def _make_front_end(runtime: Runtime) -> LogMel | None:
    """The model's front end; None where it is a part of the model."""
    from edge_asc.frontend import LogMel

    contract = runtime.contract
    return LogMel(contract.front_end) if contract.input == "features" else None


def _read_status(field: str) -> int | None:
    """A size of this process, bytes; None where the system does not report it."""
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    line = next((line for line in lines if line.startswith(f"{field}:")), None)
    return int(line.split()[1]) * 1024 if line else None


def _reset_peak() -> bool:
    """Let the peak of the resident memory start from here; False where the system does not support that."""
    try:
        CLEAR.write_text("5")
    except OSError:
        return False
    return True


def _receive() -> Iterator[str]:
    """Yield requests until stdin ends; this process then ends soon, even if it is still at one."""
    requests: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            requests.put(line)
        requests.put(None)
        time.sleep(GRACE)
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    while (line := requests.get()) is not None:
        yield line


def main() -> None:
    """Reply to requests until stdin ends."""
    worker = Worker()
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # an engine that prints must not break the protocol
    for line in _receive():
        try:
            reply = worker.reply(decode_request(line))
        except Exception as error:
            reply = Failed(f"{type(error).__name__}: {error}" if not str(error) else str(error))
        print(encode(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
