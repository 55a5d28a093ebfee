"""The comparison as a page of Markdown."""

from __future__ import annotations

from pathlib import PurePosixPath

from edge_asc_conformance.measurement import Conformance, Row

HEADER = """\
# Results: the same artefacts in other languages and runtimes

Does an artefact decide the same in a browser, in Node or on a microcontroller as in Python? Each row streams the same
recordings (15 s, {steps} steps of 256 ms) through the same file, and compares with Python's golden vectors.

| column | meaning |
|---|---|
| decisions, answers | share of steps with the same most probable label, and with the same label to report |
| logit error | the largest one; "0, equal bits" if all are the same numbers |
| events | whether starts and ends of events are Python's |
| time | median of a step with the decision rules, over Python's with the same file, in the same run |

The rules for decisions, unknown sounds and events run in the language of the row. What the golden vectors allow:
{tolerances}.
"""
COLUMNS = "| runtime | decisions, answers | logit error | events | time |\n|---|---|---|---|---|\n"
FOOTER = """
Measured by `make conformance`, with {rounds} interleaved rounds of {passes} passes and one thread, on {machine}.
The ratios are rough: other programs may have run on the machine. tflite-micro has reference kernels here.
"""


def render(conformance: Conformance, tolerances: str) -> str:
    """Return the page; `tolerances` says in words what other runtimes may do differently."""
    steps = max((row.comparison.steps for row in conformance.rows if row.comparison), default=0)
    parts = [HEADER.format(steps=steps, tolerances=tolerances)]
    for artefact in dict.fromkeys(row.artefact for row in conformance.rows):
        rows = [row for row in conformance.rows if row.artefact == artefact]
        parts.append(f"\n`{PurePosixPath(artefact).name}`\n\n{COLUMNS}{''.join(map(_format_row, rows))}")
    machine, settings = conformance.machine, conformance.settings
    described = f"{machine.cores} cores of {machine.cpu}, Python {machine.python}"
    parts.append(
        FOOTER.format(command=conformance.command, rounds=settings.rounds, passes=settings.passes, machine=described)
    )
    return "".join(parts)


def _format_row(row: Row) -> str:
    cells = cells_of(row)
    return f"| {row.title}, {row.version} | {' | '.join(cells)} |\n"


def cells_of(row: Row) -> tuple[str, str, str, str]:
    """Return what a table shows of a comparison: agreement, error, events and time; or why there is none."""
    comparison = row.comparison
    if comparison is None:
        return (f"not run: {row.reason}", "", "", "")
    error = "0, equal bits" if comparison.equal else f"{comparison.max_error:.2g}"
    return (
        f"{comparison.agreement:.3f}, {comparison.answers:.3f}",
        error if comparison.holds else f"{error}: beyond the tolerance",
        "same" if comparison.events else "others",
        f"{comparison.ratio:.1f}",
    )
