"""Cost: aarch64 instructions of a decision, which are the same on every run."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import edge_asc
from edge_asc.data.scenes import VERSION
from edge_asc.engine import open_runtime
from edge_asc_arm.emulator import SECONDS, Machine, prepared, run
from edge_asc_arm.guest import BEGIN, DECIDED, ENTERED, HEARD, LEFT, MARKS, NOTHING
from edge_asc_bench.machine import unknown
from edge_asc_bench.measurement import Model, describe_model
from edge_asc_bench.result import KIND, SCHEMA_VERSION

# The parts of a decision, by the marks that they lie between.
PARTS = {"front_end": (BEGIN, HEARD), "model": (HEARD, DECIDED), "total": (BEGIN, DECIDED), "runtime": (ENTERED, LEFT)}


def count(
    artefacts: Sequence[tuple[str, Path]],
    machines: Sequence[Machine],
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Instructions of a decision of each artefact on each board, as a result that the gate and the report read.

    A variant's `instructions` hold by processor: `front_end`, `model` and `total`, which a decision executes from
    samples to probabilities, Python included; `runtime`, the part of the model's in the engine's own call, beside which
    stand Python's checks and copies of features and states; and of the total, `dot_products` and `matrix_products` of
    bytes. Medians over decisions. They are counts, and say nothing of time.

    Raises:
        EdgeAscError: an artefact cannot be opened, or a program failed on a board.
    """
    begun, started = time.monotonic(), datetime.now(UTC)
    models = [Model(name, path, open_runtime(path)) for name, path in artefacts]
    paths = [model.path for model in models]
    variants = [{**describe_model(model), "instructions": {}} for model in models]
    with prepared(paths, models[0].contract.front_end) as (inputs, _), tempfile.TemporaryDirectory() as temporary:

        def counted(machine: Machine) -> tuple[dict[str, Any], list[tuple[int, ...]]]:
            file = Path(temporary) / f"{machine.name}.txt"
            report = run(machine, inputs, Path(temporary) / machine.name, "count", paths, file)
            progress(machine.name)
            return report, [tuple(map(int, line.split())) for line in file.read_text().splitlines()]

        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(counted, machines))
    for machine, (report, marks) in zip(machines, found, strict=True):
        for i, variant in enumerate(variants):
            variant["engine"] = report["engines"][i]
            variant["instructions"][machine.name] = _parts([mark for mark in marks if mark[0] // MARKS == i])
    digest = hashlib.sha256(f"scenes {VERSION}, {SECONDS} s".encode()).hexdigest()
    return {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "complete": True,
        "incomplete": None,
        "made": {
            "edge_asc": edge_asc.__version__,
            "at": started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - begun, 1),
            "target": "emulated boards",
            "command": "",
        },
        "machine": {
            **unknown(),
            "architecture": found[0][0]["machine"],
            "cpu": ", ".join(machine.name for machine in machines),
            "python": found[0][0]["python"],
            "packages": found[0][0]["packages"],
            "emulated": "qemu",
        },
        "conditions": [],
        "settings": {"threads": 1},
        "data": {"name": "generated scenes", "clips": 1, "sha256": digest, "labels": []},
        "reference": None,
        "whole_clip": None,
        "variants": variants,
    }


def _parts(marks: list[tuple[int, ...]]) -> dict[str, int]:
    """The counts between the marks of one artefact, without those of a mark itself."""
    overhead = [int(median(column)) for column in zip(*_between(marks, NOTHING, NOTHING), strict=True)]

    def counts(begin: int, end: int, marks_within: int) -> list[int]:
        columns = zip(*_between(marks, begin, end), strict=True)
        return [int(median(column)) - marks_within * more for column, more in zip(columns, overhead, strict=True)]

    parts = {part: counts(begin, end, 1 + (part == "total"))[0] for part, (begin, end) in PARTS.items()}
    _, dot_products, matrix_products = counts(BEGIN, DECIDED, 2)
    return {**parts, "dot_products": dot_products, "matrix_products": matrix_products}


def _between(marks: list[tuple[int, ...]], begin: int, end: int) -> list[tuple[int, ...]]:
    """What was executed from each mark `begin` to the next mark `end`."""
    found, last = [], None
    for number, *counts in marks:
        kind = number % MARKS
        if kind == end and last is not None:
            found.append(tuple(now - then for now, then in zip(counts, last, strict=True)))
            last = None
        if kind == begin:
            last = counts
    return found
