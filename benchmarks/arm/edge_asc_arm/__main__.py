"""`python -m edge_asc_arm`: boards for a terminal, conformance, cost."""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from edge_asc.cli.console import log, out, progress
from edge_asc.engine import open_runtime
from edge_asc.errors import EdgeAscError
from edge_asc.files import write_json
from edge_asc_arm.board import BOARDS, build
from edge_asc_arm.emulator import Machine
from edge_asc_bench.commands.bench import files_of

board_argument = click.argument("board", type=click.Choice(list(BOARDS)), default="pi4")
models_argument = click.argument("models", nargs=-1, required=True)
output_option = click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Result file.")
boards_option = click.option(
    "--board",
    "boards",
    type=click.Choice(list(BOARDS)),
    multiple=True,
    default=tuple(BOARDS),
    show_default=True,
    help="May be repeated.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Raspberry Pis, emulated: their processors' code for real, their times and memory not at all."""


@cli.command("build")
@board_argument
@click.option("--refresh", is_flag=True, help="Make it again.")
def build_command(board: str, refresh: bool) -> None:
    """Make a board's system, and print its folder. Kept in the cache."""
    with progress() as bar:
        bar.add_task("building", total=None)
        root = build(BOARDS[board], refresh=refresh)
    click.echo(root)


@cli.command("enter")
@board_argument
@click.option("--command", default="", help="For its shell. [default: an interactive one]")
@click.option("--home", default="", help="Size of a home folder in memory, such as 64m. [default: on disk]")
@click.option("--phone", is_flag=True, help="The board with an adbd.")
@click.option("--root", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Another system.")
def enter_command(board: str, command: str, home: str, phone: bool, root: Path | None) -> None:
    """Enter a board. Under an SSH server's ForceCommand: run what the login asked for there."""
    from edge_asc_arm.login import enter
    from edge_asc_arm.phone import build_phone

    root = root or (build_phone(BOARDS[board]) if phone else build(BOARDS[board]))
    keep = {"TERM": os.environ.get("TERM", "dumb")}
    enter(BOARDS[board], root, command or os.environ.get("SSH_ORIGINAL_COMMAND", ""), home=home, keep=keep)


@cli.command("phone", context_settings={"ignore_unknown_options": True})
@board_argument
@click.argument("command", nargs=-1, required=True)
def phone_command(board: str, command: tuple[str, ...]) -> None:
    """Run COMMAND beside a board that adb lists as 127.0.0.1:5555, by a real adbd, in a network of its own."""
    from edge_asc_arm.phone import connected

    connected(BOARDS[board], command)


@cli.command("serve")
@board_argument
@click.option("--port", default=0, help="On loopback. [default: any free one]")
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), default=Path("build/board"), show_default=True
)
def serve_command(board: str, port: int, folder: Path) -> None:
    """Run an SSH server on loopback whose logins land on a board, until interrupted."""
    from edge_asc_arm.server import serve

    build(BOARDS[board])
    with serve(BOARDS[board], folder, port=port) as server:
        log.print("measure there, in another terminal:")
        click.echo(f"edge-asc bench ... --target {server.target} --ssh-config {server.config}")
        while True:
            time.sleep(3600)


@cli.command("conformance")
@models_argument
@boards_option
@output_option
def conformance_command(models: tuple[str, ...], boards: tuple[str, ...], output: Path | None) -> None:
    """Stream MODELS (artefacts, bundles) here and on boards, and compare. Exit code 1 if one does not conform."""
    from edge_asc_arm.conformance import conform

    found = _on_boards(models, boards, conform)
    if output:
        write_json(output, found)
    table = Table(title=f"Beside {found['here']['machine']}: largest logit error, agreement", title_justify="left")
    for name in ("artefact", "engine", *(BOARDS[board].cpu for board in dict.fromkeys(boards))):
        table.add_column(name)
    for name in dict.fromkeys(row["artefact"] for row in found["comparisons"]):
        rows = [row for row in found["comparisons"] if row["artefact"] == name]
        cells = [
            f"{'bit-equal' if row['equal'] else format(row['max_error'], '.2g')}, {row['agreement']:.3f}"
            + ("" if row["holds"] else f": above {row['tolerance']:g}")
            for row in rows
        ]
        table.add_row(name, rows[0]["engine"], *cells)
    errors = ", ".join(f"{error:.2g} on {name}" for name, error in found["front_end"]["max_error"].items())
    table.caption = f"front end: {errors}"
    out.print(table)
    if not found["holds"]:
        sys.exit(1)


@cli.command("cost")
@models_argument
@boards_option
@output_option
def cost_command(models: tuple[str, ...], boards: tuple[str, ...], output: Path | None) -> None:
    """Count the aarch64 instructions of a decision of MODELS (artefacts, bundles) on boards."""
    from edge_asc_arm.cost import count

    found = _on_boards(models, boards, count)
    found["made"]["command"] = shlex.join(["python", "-m", "edge_asc_arm", *sys.argv[1:]])
    if output:
        write_json(output, found)
    table = Table(title="aarch64 instructions of a decision, millions; they say nothing of time", title_justify="left")
    table.add_column("artefact")
    table.add_column("processor")
    for name in ("front end", "model", "total", "in the runtime", "dot products, thousands"):
        table.add_column(name, justify="right")
    for variant in found["variants"]:
        for processor, parts in variant["instructions"].items():
            numbers = [f"{parts[part] / 1e6:.2f}" for part in ("front_end", "model", "total", "runtime")]
            table.add_row(variant["name"], processor, *numbers, f"{parts['dot_products'] / 1e3:.0f}")
    out.print(table)


def _on_boards(models: tuple[str, ...], boards: tuple[str, ...], do: Any) -> Any:
    artefacts = [entry for model in models for entry in files_of(model)]
    if any(path.is_dir() for _, path in artefacts):
        raise EdgeAscError("a checkpoint does not run on a board; export it, and give the artefacts")
    names = [name for name, _ in artefacts]
    if len(set(names)) < len(names):
        raise EdgeAscError(f"two artefacts are called alike: {', '.join(names)}; leave one out")
    contracts = [(name, open_runtime(path).contract) for name, path in artefacts]
    for name, contract in contracts:
        if contract.form != "causal":
            raise EdgeAscError(f"{name} is a windowed model; expected causal ones, which decide after every step")
        if contract.front_end.raw != contracts[0][1].front_end.raw:
            raise EdgeAscError(f"{name} has another front end than {contracts[0][0]}; give them one at a time")
    with progress() as bar:
        task = bar.add_task("building", total=None)
        machines = [Machine(BOARDS[board], build(BOARDS[board])) for board in dict.fromkeys(boards)]
        bar.update(task, description="running", total=len(machines) + 1)
        return do(artefacts, machines, lambda _: bar.advance(task))


def main() -> None:
    """Run the command line; a known error is one message and exit code 2."""
    try:
        cli()
    except EdgeAscError as error:
        click.echo(f"edge_asc_arm: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
