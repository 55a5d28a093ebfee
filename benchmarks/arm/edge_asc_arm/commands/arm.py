"""`edge-asc arm`."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from edge_asc.cli.console import ConsoleProgress, echo, log, out, quiet_option
from edge_asc.cli.model import ModelName
from edge_asc.cli.output import OutputPath, save_json
from edge_asc_arm.board import BOARDS, build

if TYPE_CHECKING:
    from edge_asc_arm.conformance import Conformance
    from edge_asc_arm.emulator import GuestMachine
    from edge_asc_bench.result import Result

board_argument = click.argument("board", type=click.Choice(list(BOARDS)), default="pi4")
models_argument = click.argument("models", type=ModelName(), nargs=-1, required=True)
output_option = click.option("--output", type=OutputPath(), help="Result file.")
boards_option = click.option(
    "--board",
    "boards",
    type=click.Choice(list(BOARDS)),
    multiple=True,
    default=tuple(BOARDS),
    show_default=True,
    help="Board to emulate; may be repeated.",
)


@click.group("arm", short_help="Run artefacts as aarch64 code on emulated boards: conformance and cost.")
def command() -> None:
    """Run artefacts as aarch64 code on emulated Raspberry Pis.

    Logits and instruction counts are a board's own. Times and memory are not.
    """


@command.command("build", short_help="Build a board's system in the cache.")
@board_argument
@click.option("--refresh", is_flag=True, help="Build it again.")
@quiet_option
def build_command(board: str, refresh: bool) -> None:
    """Build a board's system in the cache, and print its folder."""
    with ConsoleProgress().phase(f"Building {board}"):
        root = build(BOARDS[board], refresh=refresh)
    echo(str(root))


@command.command("enter", short_help="Open a shell on a board.")
@board_argument
@click.option("--command", "line", default="", help="Command for its shell. [default: an interactive shell]")
@click.option("--home", default="", help="Size of a home folder in memory, such as 64m. [default: on disk]")
@click.option("--phone", is_flag=True, help="Enter the board that has an adbd.")
@click.option("--root", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of another system.")
def enter_command(board: str, line: str, home: str, phone: bool, root: Path | None) -> None:
    """Open a shell on a board. As an SSH server's ForceCommand, run the login's command there."""
    from edge_asc_arm.login import enter
    from edge_asc_arm.phone import build_phone

    root = root or (build_phone(BOARDS[board]) if phone else build(BOARDS[board]))
    keep = {"TERM": os.environ.get("TERM", "dumb")}
    enter(BOARDS[board], root, line or os.environ.get("SSH_ORIGINAL_COMMAND", ""), home=home, keep=keep)


@command.command(
    "phone",
    short_help="Run a command beside a board that adb lists.",
    context_settings={"ignore_unknown_options": True},
)
@board_argument
@click.argument("line", metavar="COMMAND", nargs=-1, required=True)
def phone_command(board: str, line: tuple[str, ...]) -> None:
    """Run COMMAND in a network of its own, where adb lists a board as 127.0.0.1:5555."""
    from edge_asc_arm.phone import run_beside_phone

    run_beside_phone(BOARDS[board], line)


@command.command("serve", short_help="Run an SSH server whose logins land on a board.")
@board_argument
@click.option("--port", default=0, help="Port on loopback. [default: any free one]")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/board"),
    show_default=True,
    help="Folder for keys and settings.",
)
def serve_command(board: str, port: int, folder: Path) -> None:
    """Run an SSH server on loopback whose logins land on a board, until interrupted."""
    from edge_asc_arm.server import serve

    build(BOARDS[board])
    with serve(BOARDS[board], folder, port=port) as server:
        log.print("measure there, in another terminal:")
        echo(f"edge-asc bench ... --target {server.target} --ssh-config {server.config}")
        while True:
            time.sleep(3600)


@command.command("conformance", short_help="Compare logits on boards with logits here.")
@models_argument
@boards_option
@output_option
@quiet_option
def conformance_command(models: tuple[str, ...], boards: tuple[str, ...], output: Path | None) -> None:
    """Stream MODELS here and on boards, and compare the logits.

    MODELS are artefacts or bundles. The exit code is 1 if an error is above its tolerance.
    """
    from edge_asc_arm.artefacts import find_artefacts
    from edge_asc_arm.conformance import measure_conformance

    artefacts, progress = find_artefacts(models), ConsoleProgress()
    conformance = measure_conformance(artefacts, _build_machines(boards, progress), progress)
    if output:
        save_json(output, conformance.to_json())
    out.print(_conformance_table(conformance))
    if not conformance.holds:
        sys.exit(1)


@command.command("cost", short_help="Count the aarch64 instructions of a decision.")
@models_argument
@boards_option
@output_option
@quiet_option
def cost_command(models: tuple[str, ...], boards: tuple[str, ...], output: Path | None) -> None:
    """Count the aarch64 instructions of a decision of MODELS, artefacts or bundles."""
    from edge_asc_arm.artefacts import find_artefacts
    from edge_asc_arm.cost import measure_cost

    artefacts, progress = find_artefacts(models), ConsoleProgress()
    line = shlex.join(["edge-asc", *sys.argv[1:]])
    result = measure_cost(artefacts, _build_machines(boards, progress), command=line, progress=progress)
    if output:
        save_json(output, result.to_json())
    out.print(_cost_table(result))


def _build_machines(boards: Sequence[str], progress: ConsoleProgress) -> list[GuestMachine]:
    from edge_asc_arm.emulator import GuestMachine

    names = list(dict.fromkeys(boards))
    return [GuestMachine(BOARDS[name], build(BOARDS[name])) for name in progress.track(names, "Building boards")]


def _conformance_table(conformance: Conformance) -> Table:
    processors = list(conformance.front_end_errors)
    table = Table(title=f"Largest logit error against {conformance.machine}, agreement", title_justify="left")
    for name in ("artefact", "engine", *processors):
        table.add_column(name)
    for name in dict.fromkeys(comparison.artefact for comparison in conformance.comparisons):
        rows = [comparison for comparison in conformance.comparisons if comparison.artefact == name]
        cells = [
            f"{'bit-equal' if row.equal else format(row.max_error, '.2g')}, {row.agreement:.3f}"
            + ("" if row.holds else f": above {row.tolerance:g}")
            for row in rows
        ]
        table.add_row(name, rows[0].engine, *cells)
    errors = ", ".join(f"{error:.2g} on {name}" for name, error in conformance.front_end_errors.items())
    table.caption = f"front end: {errors}"
    return table


def _cost_table(result: Result) -> Table:
    title = "aarch64 instructions of a decision, millions; no measure of time"
    table = Table(title=title, title_justify="left")
    table.add_column("artefact")
    table.add_column("processor")
    for name in ("front end", "model", "total", "in the runtime", "dot products, thousands"):
        table.add_column(name, justify="right")
    for variant in result.variants:
        for processor, counts in (variant.instructions or {}).items():
            numbers = (counts.front_end, counts.model, counts.total, counts.runtime)
            millions = [f"{number / 1e6:.2f}" for number in numbers]
            table.add_row(variant.name, processor, *millions, f"{counts.dot_products / 1e3:.0f}")
    return table
