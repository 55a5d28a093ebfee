"""The limits of a gate."""

from __future__ import annotations

from pathlib import Path

from edge_asc_bench.limits import Limits
from fuzz.target import Seeds, Target

TEXT = """# Limits
[gate]
false_alarms = 0.01
size = 0.02
latency = 1.0
timings = "anywhere"
"""


def seeds(folder: Path) -> Seeds:
    return {"edge-asc.toml": TEXT.encode(), "empty.toml": b"[gate]\n"}


def read(path: Path) -> str:
    return repr(Limits.read(path))


TARGET = Target(seeds, read, other_answers=True)
