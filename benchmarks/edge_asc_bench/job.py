"""A job: a folder with everything that a machine needs to measure models, and its place for the results."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import edge_asc
from edge_asc.files import identity

if TYPE_CHECKING:
    from edge_asc.frontend import Array

JOB, AUDIO, FEATURES, SAMPLES = "job.json", "audio.npy", "features.npy", "samples.npy"
EVENTS, LOCK, LOG = "events.jsonl", "runner.lock", "runner.log"
AUDIO_SECONDS = 10


@dataclass(frozen=True)
class Settings:
    """Benchmark settings.

    Attributes:
        lengths: seconds since reset, for accuracy; and the windows of windowed models.
        threads: of every engine.
        rounds: interleaved rounds; every model runs once in each.
        duration: seconds of sustained inference per model, after the rounds; 0 for none.
        warm_up: decisions before the first round, not counted.
        lead: decisions at the start of each model's part of a round, not counted: another model has had the caches.
        burst: decisions of a model in a round; of a windowed model `window_burst`.
        window_burst: see `burst`.
    """

    lengths: tuple[int, ...] = tuple(range(1, 11))
    threads: int = 1
    rounds: int = 25
    duration: float = 0.0
    warm_up: int = 20
    lead: int = 3
    burst: int = 20
    window_burst: int = 8


@dataclass(frozen=True)
class Task:
    """One model in one form, measured in a process of its own.

    Attributes:
        model: index of the model.
        name: of the model.
        file: the model, relative to the job's folder.
        engine: name of the engine that runs it, as registered.
        seconds: of the window; None for the step of a causal model.
    """

    model: int
    name: str
    file: str
    engine: str
    seconds: int | None


@dataclass(frozen=True)
class Job:
    """The content of a job's folder, beside files.

    Attributes:
        tasks: to do.
        settings: of the benchmark.
        frames: of each clip; `features.npy` holds the clips one after another.
        counts: samples of each clip in `samples.npy`; empty where no model takes samples.
    """

    tasks: tuple[Task, ...]
    settings: Settings
    frames: tuple[int, ...]
    counts: tuple[int, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Job:
        """Read the job in a folder that `write` made."""
        value = json.loads((folder / JOB).read_text(encoding="utf-8"))
        settings = {**value["settings"], "lengths": tuple(value["settings"]["lengths"])}
        tasks = tuple(Task(**task) for task in value["tasks"])
        return cls(tasks, Settings(**settings), tuple(value["frames"]), tuple(value["counts"]))


def write(
    folder: Path,
    job: Job,
    models: Mapping[str, Path],
    audio: Array,
    features: Sequence[Array],
    samples: Sequence[Array] = (),
) -> str:
    """Fill a job's folder; return the job's name, a digest of everything in it.

    Args:
        folder: empty.
        job: to write.
        models: where each task's `file` comes from.
        audio: (n,) float32 at 16 kHz, that times are measured on.
        features: raw log-mel of each clip, (frames, mels).
        samples: of each clip, (n,) float32; none where no model takes samples.
    """
    import numpy as np

    for name, source in models.items():
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)
    np.save(folder / AUDIO, audio)
    np.save(folder / FEATURES, np.concatenate([np.asarray(clip, np.float32) for clip in features]))
    if samples:
        np.save(folder / SAMPLES, np.concatenate(samples))
    (folder / JOB).write_text(json.dumps(asdict(job)), encoding="utf-8")
    return hashlib.sha256(f"{edge_asc.__version__} {identity(folder)[0]}".encode()).hexdigest()[:16]
