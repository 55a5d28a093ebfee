"""`edge-asc conformance`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from edge_asc.cli.console import ConsoleProgress, log, out, quiet_option
from edge_asc.cli.output import OutputPath, save, save_json
from edge_asc.errors import require
from edge_asc.zoo import DEFAULT

if TYPE_CHECKING:
    from edge_asc_conformance.measurement import Conformance

GOLDEN = Path("build/golden")


@click.group("conformance", short_help="Compare artefacts in other languages and runtimes with Python.")
def command() -> None:
    """Give artefacts the same audio in other languages and runtimes as in Python, and compare the results."""


@command.command("golden", short_help="Write golden vectors: audio, artefacts, and Python's results.")
@click.argument("model", default=DEFAULT)
@click.option("--output", type=OutputPath(folder=True), default=GOLDEN, show_default=True, help="Folder.")
@quiet_option
def golden_command(model: str, output: Path) -> None:
    """Write golden vectors of MODEL, for tests in any language.

    MODEL is a causal checkpoint or the name of a pretrained model. The folder holds recordings of 15 s, the artefacts
    that take samples (float, int8-dynamic and int8, ONNX and TFLite), and each one's logits and probabilities after
    each step, as plain binary numbers that golden.json describes.
    """
    for module in ("msgspec", "torch"):
        require(module, "conformance")
    from edge_asc_conformance.preparation import prepare

    document = prepare(model, output, progress=ConsoleProgress())
    log.print(f"{len(document.artefacts)} artefacts, {len(document.files)} files of numbers, written to {output}")


@command.command("measure", short_help="Compare all runtimes with golden vectors, in one table.")
@click.argument("golden", type=click.Path(exists=True, file_okay=False, path_type=Path), default=GOLDEN)
@click.option(
    "--modules",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("examples/node_modules"),
    show_default=True,
    help="Folder node_modules with the runtimes in JavaScript: npm ci --prefix examples.",
)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Interleaved rounds.")
@click.option("--passes", type=click.IntRange(1), default=3, show_default=True, help="Over the audio, in each round.")
@click.option("--output", type=OutputPath(), help="Result file, JSON.")
@click.option("--page", type=OutputPath(), help="Result file, Markdown.")
@quiet_option
def measure_command(
    golden: Path, modules: Path, rounds: int, passes: int, output: Path | None, page: Path | None
) -> None:
    """Stream the audio of GOLDEN in every installed runtime, and compare with Python's results.

    Runtimes that are not installed, or cannot run an artefact, are listed with the reason. The exit code is 1 if one
    that ran differs by more than the golden vectors allow.
    """
    require("msgspec", "conformance")
    from edge_asc_bench.golden import describe_tolerances
    from edge_asc_conformance.measurement import Settings, measure
    from edge_asc_conformance.page import render

    line = shlex.join(["edge-asc", *sys.argv[1:]])
    conformance = measure(golden, modules, Settings(rounds, passes), command=line, progress=ConsoleProgress())
    if output:
        save_json(output, conformance.to_json())
    if page:
        save(page, render(conformance, describe_tolerances()).encode())
    out.print(_table(conformance))
    if not conformance.holds:
        sys.exit(1)


def _table(conformance: Conformance) -> Table:
    from edge_asc_conformance.page import cells_of

    table = Table(title="compared with Python on the same audio", title_justify="left")
    for name in ("artefact", "runtime", "version", "decisions, answers", "logit error", "events", "time, of Python's"):
        table.add_column(name, overflow="fold")
    for row in conformance.rows:
        table.add_row(Path(row.artefact).name, row.title, row.version, *cells_of(row))
    return table
