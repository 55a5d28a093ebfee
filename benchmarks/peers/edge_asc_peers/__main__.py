"""`python -m edge_asc_peers`: the same model in other runtimes, side by side."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from edge_asc.cli.console import Lengths, log, out, progress, threads_option
from edge_asc.errors import EdgeAscError
from edge_asc.files import write_json
from edge_asc.zoo import locate_model, zoo
from edge_asc_bench.commands.bench import clips_of
from edge_asc_bench.job import Settings
from edge_asc_bench.measurement import bench
from edge_asc_bench.result import agreement, titled
from edge_asc_bench.targets import open_target
from edge_asc_peers.comparison import OURS, prepare
from edge_asc_peers.peer import PEERS


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("models", nargs=-1)
@click.option(
    "--peer",
    "chosen",
    multiple=True,
    type=click.Choice([name for name in PEERS.names() if name not in OURS]),
    help="May be repeated. [default: all; those that are not installed are told]",
)
@click.option(
    "--windows", type=Lengths(), default="10", show_default=True, help="Lengths of the windows beside steps, s."
)
@click.option("--steps-only", is_flag=True, help="No windows.")
@click.option("--rounds", type=click.IntRange(1), default=25, show_default=True, help="Turns of each.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/peers"),
    show_default=True,
    help="Folder of the results, one for each model.",
)
@threads_option
def cli(
    models: tuple[str, ...],
    chosen: tuple[str, ...],
    windows: tuple[int, ...],
    steps_only: bool,
    rounds: int,
    output: Path,
    threads: int,
) -> None:
    """Run MODELS (checkpoints of causal models, or of the zoo; by default all of the zoo) in every runtime there is.

    Each converts the model by its own tools, to float and, where it has a quantiser of its own, to int8; what computes
    another thing is not timed. All take turns in one run, each in a process of its own.
    """
    for model in models or zoo():
        checkpoint = locate_model(model)
        if checkpoint is None:
            raise EdgeAscError(f"{model}: no such checkpoint; expected a folder or one of {', '.join(zoo())}")
        lengths = () if steps_only else windows
        with tempfile.TemporaryDirectory(prefix="edge-asc-peers-") as folder:
            result = _measured(checkpoint, Path(folder), chosen or PEERS.names(), lengths, rounds, threads)
        write_json(output / f"{checkpoint.name}.json", result)
        _show(checkpoint.name, result)
        log.print(f"written to {output / checkpoint.name}.json")


def _measured(
    checkpoint: Path, folder: Path, chosen: tuple[str, ...], windows: tuple[int, ...], rounds: int, threads: int
) -> dict[str, Any]:
    with progress() as bar:
        task = bar.add_task(checkpoint.name, total=None)
        found = prepare(
            checkpoint, folder, chosen, windows, lambda what: bar.update(task, description=f"{checkpoint.name}: {what}")
        )

        def tell(_: str, what: str, done: int, total: int) -> None:
            bar.update(task, description=f"{checkpoint.name}: {what}", completed=done, total=total)

        settings = Settings(windows or (10,), threads, rounds)
        command = shlex.join(["python", "-m", "edge_asc_peers", *sys.argv[1:]])
        clips = clips_of(checkpoint, None, None)
        (result,) = bench(found.models, clips, settings, [open_target("local")], command=command, progress=tell)
    return {**result, "peers": {"errors": found.errors, "absent": found.absent}}


def _show(name: str, result: Mapping[str, Any]) -> None:
    rows = [(variant, form) for variant in result["variants"] for form in variant["latency"]]
    table = Table(title=f"{name}: µs for a decision, {result['settings']['threads']} thread", title_justify="left")
    for title in ("", "engine, least", "median", "with Python, least", "median", "eager ÷ this", "KB", "agreement"):
        table.add_column(title, justify="left" if not title else "right", overflow="fold")
    eager = {form: _least(variant, form) for variant, form in rows if "eager" in variant["name"]}
    for variant, form in rows:
        latency = variant["latency"][form]
        least = _least(variant, form)
        ratio = f"{eager[form] / least:.1f}" if form in eager else ""
        share = agreement(variant) if form == "step" else None
        table.add_row(
            variant["name"] if variant["name"].endswith(" s") else titled(variant["name"], form),
            *(f"{1000 * latency[part][value]:.0f}" for part in ("engine", "model") for value in ("minimum", "p50")),
            ratio,
            f"{variant['bytes'] / 1000:.0f}",
            "" if share is None else f"{share:.4f}",
        )
    out.print(table)
    for label, reason in result["peers"]["absent"].items():
        out.print(f"absent: {label}: {reason}", highlight=False)


def _least(variant: Mapping[str, Any], form: str) -> float:
    return float(variant["latency"][form]["engine"]["minimum"])


def main() -> None:
    """Run the command line; a known error is one message and exit code 2."""
    try:
        cli()
    except EdgeAscError as error:
        click.echo(f"edge_asc_peers: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
