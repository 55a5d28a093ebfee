"""Cost: aarch64 instructions of a decision. The counts are the same in every run."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec

import edge_asc
from edge_asc.data.scenes import VERSION
from edge_asc.progress import SILENT, Progress
from edge_asc_arm.emulator import SECONDS, GuestMachine, prepare_inputs, run_guest
from edge_asc_arm.guest import BEGIN, CALL, DECIDED, FRONT_END_DONE, MARKS, NOTHING, RETURNED, Report
from edge_asc_bench.inputs import Model
from edge_asc_bench.machine import Machine
from edge_asc_bench.result import Data, Instructions, Made, MeasuredSettings, Result
from edge_asc_bench.variant import describe_model

# The parts of a decision, and the marks at their begin and end.
PARTS = {
    "front_end": (BEGIN, FRONT_END_DONE),
    "model": (FRONT_END_DONE, DECIDED),
    "total": (BEGIN, DECIDED),
    "runtime": (CALL, RETURNED),
}
Marks = Sequence[tuple[int, ...]]
"""Each mark's number, and the instructions, dot products and matrix products executed before it."""


@dataclass(frozen=True)
class Counts:
    """One board's counts.

    Attributes:
        machine: the board.
        report: of the program on it.
        instructions: of each artefact.
    """

    machine: GuestMachine
    report: Report
    instructions: tuple[Instructions, ...]


def measure_cost(
    artefacts: Sequence[tuple[str, Path]],
    machines: Sequence[GuestMachine],
    *,
    command: str = "",
    progress: Progress = SILENT,
) -> Result:
    """Count the instructions of a decision of each artefact on each board.

    Args:
        artefacts: name and path of each; all have one front end.
        machines: emulated boards.
        command: that repeats this measurement, for the record.
        progress: receives a unit of work for each board.

    Returns:
        A result that `edge-asc check` and `edge-asc report` read. A variant's `instructions` hold the counts by
        processor. Counts are no measure of time.

    Raises:
        EdgeAscError: an artefact cannot be opened, or the program fails on a board.
    """
    start, at = time.monotonic(), datetime.now(UTC)
    models = [Model.open(name, path) for name, path in artefacts]
    paths = [model.path for model in models]
    with (
        prepare_inputs(paths, models[0].contract.front_end) as (inputs, _),
        tempfile.TemporaryDirectory() as temporary,
        progress.phase("Counting", len(machines)) as phase,
    ):

        def count(machine: GuestMachine) -> Counts:
            file = Path(temporary) / f"{machine.name}.txt"
            report = run_guest(machine, inputs, Path(temporary) / machine.name, "count", paths, file)
            phase.advance()
            marks = [tuple(map(int, line.split())) for line in file.read_text().splitlines()]
            parts = (count_parts([mark for mark in marks if mark[0] // MARKS == i]) for i in range(len(paths)))
            return Counts(machine, report, tuple(parts))

        with ThreadPoolExecutor(2) as pool:
            counts = list(pool.map(count, machines))
    made = Made(
        edge_asc=edge_asc.__version__,
        at=at.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - start, 1),
        target="emulated boards",
        command=command,
    )
    return _build_result(made, models, counts)


def count_parts(marks: Marks) -> Instructions:
    """Return the counts between the marks of one artefact, without the instructions of the marks themselves.

    They are medians over decisions, from samples to probabilities, Python included. `runtime` is the engine's own call.
    """
    overhead = [int(median(column)) for column in zip(*_differences(marks, NOTHING, NOTHING), strict=True)]

    def count(begin: int, end: int, marks_within: int) -> list[int]:
        columns = zip(*_differences(marks, begin, end), strict=True)
        # What lies between neighbouring marks is nothing, such as the front end of an artefact that takes samples.
        return [max(0, int(median(c)) - marks_within * extra) for c, extra in zip(columns, overhead, strict=True)]

    parts = {part: count(begin, end, 1 + (part == "total"))[0] for part, (begin, end) in PARTS.items()}
    _, dot_products, matrix_products = count(BEGIN, DECIDED, 2)
    return Instructions(**parts, dot_products=dot_products, matrix_products=matrix_products)


def _differences(marks: Marks, begin: int, end: int) -> list[tuple[int, ...]]:
    """Return the counts between each mark of the kind `begin` and the next one of the kind `end`."""
    differences, before = [], None
    for number, *counts in marks:
        kind = number % MARKS
        if kind == end and before is not None:
            differences.append(tuple(b - a for a, b in zip(before, counts, strict=True)))
            before = None
        if kind == begin:
            before = counts
    return differences


def _build_result(made: Made, models: Sequence[Model], counts: Sequence[Counts]) -> Result:
    """Return the counts as a benchmark's result without times."""
    report = counts[0].report
    variants = []
    for i, model in enumerate(models):
        instructions = {count.machine.name: count.instructions[i] for count in counts}
        variant = describe_model(model)
        variants.append(msgspec.structs.replace(variant, engine=report.engines[i], instructions=instructions))
    machine = Machine(
        architecture=report.machine,
        cpu=", ".join(count.machine.name for count in counts),
        python=report.python,
        packages=report.packages,
        emulated="qemu",
    )
    digest = hashlib.sha256(f"scenes {VERSION}, {SECONDS} s".encode()).hexdigest()
    return Result(
        complete=True,
        incomplete=None,
        made=made,
        machine=machine,
        conditions=(),
        settings=MeasuredSettings(threads=1),
        data=Data(name="generated scenes", clips=1, sha256=digest),
        reference=None,
        whole_clip=None,
        variants=tuple(variants),
    )
