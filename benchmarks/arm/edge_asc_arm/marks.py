"""Marks: a program's counts of instructions at the ends of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from edge_asc_arm.guest import BEGIN, CALL, DECIDED, FRONT_END_DONE, MARKS, NOTHING, RETURNED
from edge_asc_bench.result import Instructions

# The parts of a decision, and the marks at their begin and end.
PARTS = {
    "front_end": (BEGIN, FRONT_END_DONE),
    "model": (FRONT_END_DONE, DECIDED),
    "total": (BEGIN, DECIDED),
    "runtime": (CALL, RETURNED),
}
Marks = Sequence[tuple[int, ...]]
"""Each mark's number, and the instructions, dot products and matrix products executed before it."""


def read_marks(path: Path) -> list[tuple[int, ...]]:
    """Read the file that the counting emulator writes."""
    return [tuple(map(int, line.split())) for line in path.read_text().splitlines()]


def count_parts(marks: Marks) -> Instructions:
    """Return the counts between the marks of one artefact, without the instructions of the marks themselves.

    They are medians over decisions, from samples to probabilities, Python included. `runtime` is the engine's own call.
    """
    parts = {part: _count(marks, begin, end, 1 + (part == "total"))[0] for part, (begin, end) in PARTS.items()}
    _, dot_products, matrix_products = _count(marks, BEGIN, DECIDED, 2)
    return Instructions(**parts, dot_products=dot_products, matrix_products=matrix_products)


def count_program_parts(marks: Marks) -> Instructions:
    """Return the counts of a C artefact, of which the network is called again by itself.

    `model` and `runtime` are the network; `front_end` is the rest of a decision, which includes its rules.
    """
    total, dot_products, matrix_products = _count(marks, BEGIN, DECIDED, 1)
    network, *_ = _count(marks, CALL, RETURNED, 1)
    return Instructions(
        front_end=total - network,
        model=network,
        total=total,
        runtime=network,
        dot_products=dot_products,
        matrix_products=matrix_products,
    )


def _count(marks: Marks, begin: int, end: int, marks_within: int) -> list[int]:
    """Return the medians of the counts between two kinds of marks, without those of the marks themselves."""
    overhead = [int(median(column)) for column in zip(*_differences(marks, NOTHING, NOTHING), strict=True)]
    columns = zip(*_differences(marks, begin, end), strict=True)
    # What lies between neighbouring marks is nothing, such as the front end of an artefact that takes samples.
    return [max(0, int(median(c)) - marks_within * extra) for c, extra in zip(columns, overhead, strict=True)]


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
