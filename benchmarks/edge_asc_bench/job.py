"""A job: a folder with everything that a machine needs to measure models, and its place for what it finds."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import edge_asc
from edge_asc.files import identity

JOB, AUDIO, FEATURES = "job.json", "audio.npy", "features.npy"
EVENTS, LOCK, LOG = "events.jsonl", "runner.lock", "runner.log"
AUDIO_SECONDS = 10


@dataclass(frozen=True)
class Settings:
    """How is measured.

    Attributes:
        lengths: seconds since reset, for accuracy; and the windows of windowed models.
        threads: of every engine.
        rounds: turns that every model gets.
        duration: s that every model runs without a pause, after the turns; 0 for not at all.
        warm_up: decisions before the first turn, not counted.
        lead: decisions at the start of each turn, not counted: another model has had the caches.
        burst: decisions in a turn; of a windowed model `window_burst`.
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
        seconds: of the window; None for the step of a causal model.
    """

    model: int
    name: str
    file: str
    seconds: int | None


@dataclass(frozen=True)
class Job:
    """What a runner finds in a job's folder."""

    tasks: tuple[Task, ...]
    settings: Settings
    frames: tuple[int, ...]
    """Of each clip; `features.npy` holds them one after another."""

    @classmethod
    def read(cls, folder: Path) -> Job:
        """The job in a folder that `write` made."""
        value = json.loads((folder / JOB).read_text())
        return cls(
            tuple(Task(**task) for task in value["tasks"]),
            Settings(**{**value["settings"], "lengths": tuple(value["settings"]["lengths"])}),
            tuple(value["frames"]),
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `read` reads."""
        return {
            "tasks": [asdict(task) for task in self.tasks],
            "settings": asdict(self.settings),
            "frames": list(self.frames),
        }


def write(folder: Path, job: Job, models: Mapping[str, Path], audio: Any, features: Sequence[Any]) -> str:
    """Fill a folder; returns the job's name, a digest of everything in it.

    Args:
        folder: empty.
        job: to be done.
        models: where each task's `file` comes from.
        audio: (n,) float32 at 16 kHz, that times are measured on.
        features: raw log-mel of each clip, (frames, mels).
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
    (folder / JOB).write_text(json.dumps(job.to_json()))
    return hashlib.sha256(f"{edge_asc.__version__} {identity(folder)[0]}".encode()).hexdigest()[:16]
