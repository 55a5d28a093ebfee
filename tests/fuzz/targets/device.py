"""The events of a device, one a line."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from edge_asc_bench.events import decode_event
from edge_asc_bench.observation import Observation
from fuzz.mutations import mutate_json
from fuzz.target import Seeds, Target

LINES: tuple[dict[str, object], ...] = (
    {"event": "run", "id": "3f0c", "at": "2026-01-01T12:00:00+00:00"},
    {"event": "machine", "architecture": "aarch64", "cores": 4, "features": ["asimd"], "packages": {"numpy": "2"}},
    {"event": "conditions", "at": 0.1, "phase": "before", "frequency_mhz": [600.0], "temperature_c": 40.0}
    | {"load": 0.1, "throttling": []},
    {"event": "progress", "title": "latency", "done": 1, "total": 2},
    {"event": "opened", "task": 0, "engine": "litert 2", "load_ms": 9.1, "cold_start_ms": 12.4, "bare": 9000000}
    | {"front_end": 48000000, "imported": 61000000, "peak_reset": True},
    {"event": "times", "task": 0, "front_end": [210000, 208000], "model": [270000, 266000], "engine": [1, 2]},
    {"event": "sustained", "task": 0, "medians": [0.2, 0.3], "decisions": 40, "resident": [1, 2]},
    {"event": "memory", "task": 0, "peak": 100000000, "now": 90000000},
    {"event": "logits", "task": 0, "file": "logits-0.npy", "rows": [3, 4]},
    {"event": "failed", "task": 0, "message": "its process ended"},
    {"event": "done"},
)


def seeds(folder: Path) -> Seeds:
    return {"events.jsonl": "\n".join(map(json.dumps, LINES)).encode()}


def mutate(random: Random, data: bytes, seeds: Seeds) -> bytes:
    """Damage one event."""
    lines = data.split(b"\n")
    i = random.randrange(len(lines))
    lines[i] = mutate_json(random, lines[i], seeds)
    return b"\n".join(lines)


def read(path: Path) -> str:
    observation = Observation(1)
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        observation.receive(decode_event(line))
    return repr(vars(observation.tasks[0])) + repr(observation.machine)


TARGET = Target(seeds, read, mutate, other_answers=True)
