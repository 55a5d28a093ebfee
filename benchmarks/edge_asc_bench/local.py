"""Measuring models on this machine: each in a process of its own, all of them in turns."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import edge_asc
from edge_asc.errors import EdgeAscError, MissingExtraError
from edge_asc.evaluation.accuracy import evaluate
from edge_asc.evaluation.logits import stream_logits
from edge_asc.files import sha256
from edge_asc.frontend import Array
from edge_asc.runtimes import Runtime, open_runtime
from edge_asc_bench.latency import Latency
from edge_asc_bench.machine import conditions, describe
from edge_asc_bench.result import KIND, SCHEMA_VERSION

WARM_UP = 20
ROUNDS = 25
BURST = 20
WINDOW_BURST = 8
SUSTAINED_BURST = 50


@dataclass(frozen=True)
class Clips:
    """What accuracy is measured on.

    Attributes:
        name: of the data set.
        features: raw log-mel of each clip, (frames, mels).
        labels: of the data; empty where it has none that the models know: then agreement alone is measured.
        targets: index into `labels` of each clip.
        digest: SHA-256 over the clips, by which two results are known to be about the same audio.
    """

    name: str
    features: Sequence[Array] = field(repr=False)
    labels: tuple[str, ...]
    targets: tuple[int, ...]
    digest: str


@dataclass(frozen=True)
class Settings:
    """How is measured.

    Attributes:
        lengths: seconds since reset, for accuracy; and the windows of windowed models.
        threads: of every engine.
        rounds: turns that every model gets.
        duration: s that every model runs without a pause, after the turns; 0 for not at all.
    """

    lengths: tuple[int, ...] = tuple(range(1, 11))
    threads: int = 1
    rounds: int = ROUNDS
    duration: float = 0.0


def bench(
    models: Sequence[tuple[str, Path]],
    clips: Clips,
    settings: Settings,
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure models; the first checkpoint among them is the reference of the others.

    Args:
        models: name, and checkpoint folder or artefact, of each.
        clips: that accuracy is measured on.
        settings: how is measured.
        progress: told what is done, and how far.

    Raises:
        EdgeAscError: a model cannot be opened, or its process ended.
    """
    begun, started = time.monotonic(), datetime.now(UTC)
    before = conditions()
    runtimes = [(name, open_runtime(path, threads=settings.threads)) for name, path in models]
    folders = [i for i, (_, path) in enumerate(models) if path.is_dir()]
    reference = folders[0] if folders else None
    tell = progress or (lambda *_: None)
    tell("accuracy", 0, 1)
    accuracy, agreement = _compared(runtimes, clips, settings, reference)
    with ExitStack() as stack:
        workers = _workers(models, runtimes, settings, stack)
        total = settings.rounds
        for worker in workers:
            worker.run(WARM_UP if worker.seconds is None else 2, keep=False)
        for i in range(settings.rounds):
            tell("latency", i, total)
            for worker in workers:
                worker.run(BURST if worker.seconds is None else WINDOW_BURST)
        for i, worker in enumerate(workers):
            if settings.duration:
                tell(f"sustained: {worker.name}", i, len(workers))
                worker.sustain(settings.duration)
            worker.finish()
    variants = []
    for i, ((name, path), (_, runtime)) in enumerate(zip(models, runtimes, strict=True)):
        mine = [worker for worker in workers if worker.index == i]
        variants.append(_variant(name, path, runtime, mine, accuracy[i], agreement[i]))
    return {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "complete": True,
        "made": {
            "edge_asc": edge_asc.__version__,
            "at": started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - begun, 1),
            "target": "local",
        },
        "machine": describe(),
        "conditions": {"before": before, "after": conditions()},
        "settings": {
            "lengths": list(settings.lengths),
            "threads": settings.threads,
            "rounds": settings.rounds,
            "duration": settings.duration,
        },
        "data": {
            "name": clips.name,
            "clips": len(clips.features),
            "sha256": clips.digest,
            "labels": list(clips.labels),
        },
        "reference": None if reference is None else models[reference][0],
        "variants": variants,
    }


class _Process:
    """A worker and what it measured."""

    def __init__(self, index: int, name: str, path: Path, threads: int, seconds: int | None) -> None:
        self.index, self.name, self.seconds = index, name, seconds
        self.front_end: list[int] = []
        self.model: list[int] = []
        self.drift: dict[str, float] | None = None
        self.memory: dict[str, Any] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edge_asc_bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            self.opened = self._ask(do="open", path=str(path), threads=threads, seconds=seconds)
        except BaseException:
            self.close()
            raise

    def run(self, count: int, *, keep: bool = True) -> list[int]:
        """Decide `count` times; the total times, ns."""
        found = self._ask(do="run", count=count)
        if keep:
            self.front_end += found["front_end"]
            self.model += found["model"]
        return [a + b for a, b in zip(found["front_end"], found["model"], strict=True)]

    def sustain(self, duration: float) -> None:
        """Run without a pause for some seconds; the medians of the first and the last tenth, ms."""
        medians: list[float] = []
        end = time.monotonic() + duration
        while time.monotonic() < end or len(medians) < 10:
            medians.append(float(np.median(self.run(SUSTAINED_BURST if self.seconds is None else 2, keep=False))) / 1e6)
        tenth = max(1, len(medians) // 10)
        first, last = float(np.median(medians[:tenth])), float(np.median(medians[-tenth:]))
        self.drift = {"seconds": duration, "first_ms": first, "last_ms": last, "ratio": last / first}

    def finish(self) -> None:
        """Ask for the memory, and let the process end."""
        found = self._ask(do="memory")
        if not self.opened["peak_reset"]:
            found["peak"] = None  # it would be that of importing the runtime
        self.memory = {**found, "bare": self.opened["bare"], "imported": self.opened["imported"]}

    def close(self) -> None:
        """End the process."""
        if self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        if self._process.stdout:
            self._process.stdout.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._process.wait()
            raise EdgeAscError(f"{self.name}: its process ended with exit code {code}; nothing was measured")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise EdgeAscError(f"{self.name}: {reply['error']}")
        return reply


@contextmanager
def _process(*arguments: Any) -> Iterator[_Process]:
    process = _Process(*arguments)
    try:
        yield process
    finally:
        process.close()


def _workers(
    models: Sequence[tuple[str, Path]],
    runtimes: Sequence[tuple[str, Runtime]],
    settings: Settings,
    stack: ExitStack,
) -> list[_Process]:
    workers = []
    for i, ((name, path), (_, runtime)) in enumerate(zip(models, runtimes, strict=True)):
        windows: tuple[int | None, ...] = (None,)
        if runtime.contract.form == "windowed":
            windows = tuple(s for s in runtime.contract.windows if s in settings.lengths)
            if not windows:
                offered = ", ".join(map(str, runtime.contract.windows))
                raise EdgeAscError(f"{name}: has windows of {offered} s; name one of them with --lengths")
        for seconds in windows:
            workers.append(stack.enter_context(_process(i, name, path, settings.threads, seconds)))
    return workers


def _compared(
    runtimes: Sequence[tuple[str, Runtime]], clips: Clips, settings: Settings, reference: int | None
) -> tuple[list[dict[str, Any] | None], list[dict[str, Any] | None]]:
    """Accuracy of each model on labelled clips; agreement alone, by step, where there are no labels."""
    if clips.labels:
        results = evaluate(runtimes, clips.features, clips.targets, clips.labels, settings.lengths, reference)
        return [result.to_json() for result in results], [None] * len(runtimes)
    nothing: list[dict[str, Any] | None] = [None] * len(runtimes)
    causal = [i for i, (_, runtime) in enumerate(runtimes) if runtime.contract.form == "causal"]
    if reference not in causal:
        return nothing, nothing
    labels = runtimes[reference][1].contract.labels
    causal = [i for i in causal if runtimes[i][1].contract.labels == labels]
    logits = {i: np.concatenate(stream_logits(runtimes[i][1], clips.features)) for i in causal}
    agreement = list(nothing)
    for i, found in logits.items():
        if i == reference:
            continue
        expected = logits[reference]
        error = np.abs(found - expected)
        agreement[i] = {
            "steps": len(found),
            "share": float((found.argmax(1) == expected.argmax(1)).mean()),
            "mean_error": float(error.mean()),
            "max_error": float(error.max()),
        }
    return nothing, agreement


def _variant(
    name: str,
    path: Path,
    runtime: Runtime,
    workers: Sequence[_Process],
    accuracy: dict[str, Any] | None,
    agreement: dict[str, Any] | None,
) -> dict[str, Any]:
    contract = runtime.contract
    file = path / "weights.safetensors" if path.is_dir() else path
    state = contract.signatures[0].states() or contract.signatures[-1].states()
    return {
        "name": name,
        "file": path.name,
        "sha256": sha256(file),
        "bytes": file.stat().st_size,
        "engine": runtime.engine,
        "form": contract.form,
        "scheme": contract.scheme,
        "parameters": contract.parameters,
        "macs": dict(contract.macs),
        "state_bytes": sum(int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize for spec in state),
        "graph": _graph(file) if path.is_file() else None,
        "latency": {"step" if w.seconds is None else f"{w.seconds}": _latency(w, contract) for w in workers},
        "memory": max((w.memory for w in workers), key=lambda memory: memory["peak"] or 0),
        "accuracy": accuracy,
        "agreement": agreement,
    }


def _latency(worker: _Process, contract: Any) -> dict[str, Any]:
    total = [a + b for a, b in zip(worker.front_end, worker.model, strict=True)]
    parts = {"front_end": worker.front_end, "model": worker.model, "total": total}
    found = {name: Latency.of(times) for name, times in parts.items()}
    period = contract.signature("step").samples / contract.front_end.sample_rate if worker.seconds is None else 0.25
    return {
        **{name: latency.to_json() for name, latency in found.items()},
        "period_s": period,
        "real_time_factor": found["total"].mean / 1000 / period,
        "load_ms": worker.opened["load_ms"],
        "cold_start_ms": worker.opened["cold_start_ms"],
        "sustained": worker.drift,
        "unstable": found["total"].doubts(),
    }


def _graph(path: Path) -> Mapping[str, Any] | None:
    try:
        from edge_asc_export.inspection import inspect

        return inspect(path).to_json()
    except (ImportError, MissingExtraError):
        return None
