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

import msgspec

import edge_asc
from edge_asc.data.scenes import VERSION
from edge_asc.progress import SILENT, Progress
from edge_asc_arm.emulator import SECONDS, GuestMachine, prepare_inputs, run_guest
from edge_asc_arm.guest import MARKS, Report
from edge_asc_arm.marks import count_parts, read_marks
from edge_asc_arm.processor import PROCESSORS
from edge_asc_arm.program import count_program, is_program
from edge_asc_bench.inputs import Model
from edge_asc_bench.machine import Machine
from edge_asc_bench.result import Data, Instructions, Made, MeasuredSettings, Result
from edge_asc_bench.variant import describe_model


@dataclass(frozen=True)
class Counts:
    """One board's counts.

    Attributes:
        machine: the board.
        report: of the program on it.
        engines: engine of each artefact, with its version.
        instructions: of each artefact.
    """

    machine: GuestMachine
    report: Report
    engines: tuple[str, ...]
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
    interpreted = [model.path for model in models if not is_program(model.path)]
    with (
        prepare_inputs(interpreted, models[0].contract.front_end) as (inputs, _),
        tempfile.TemporaryDirectory() as temporary,
        progress.phase("Counting", len(machines)) as phase,
    ):

        def count(machine: GuestMachine) -> Counts:
            file, folder = Path(temporary) / f"{machine.name}.txt", Path(temporary) / machine.name
            report = run_guest(machine, inputs, folder, "count", interpreted, file)
            marks = read_marks(file)
            parts = ([mark for mark in marks if mark[0] // MARKS == i] for i in range(len(interpreted)))
            guests = zip(report.engines, map(count_parts, parts), strict=True)
            counts = [
                count_program(PROCESSORS[machine.name], model.path, folder) if is_program(model.path) else next(guests)
                for model in models
            ]
            phase.advance()
            return Counts(machine, report, *zip(*counts, strict=True))

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


def _build_result(made: Made, models: Sequence[Model], counts: Sequence[Counts]) -> Result:
    """Return the counts as a benchmark's result without times."""
    report = counts[0].report
    variants = []
    for i, model in enumerate(models):
        instructions = {count.machine.name: count.instructions[i] for count in counts}
        variant = describe_model(model)
        variants.append(msgspec.structs.replace(variant, engine=counts[0].engines[i], instructions=instructions))
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
