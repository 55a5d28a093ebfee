"""`edge-asc peers`."""

from __future__ import annotations

import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from edge_asc.cli.console import ConsoleProgress, Lengths, log, out, quiet_option, threads_option
from edge_asc.cli.output import OutputPath, save_json
from edge_asc.errors import EdgeAscError
from edge_asc.text import count_noun
from edge_asc.zoo import locate_model, zoo
from edge_asc_peers.peer import ALWAYS_MEASURED, PEERS

if TYPE_CHECKING:
    from edge_asc_bench.job import Settings
    from edge_asc_bench.result import Result
    from edge_asc_peers.preparation import Preparation
    from edge_asc_peers.row import Row


@click.command("peers", short_help="Measure a model in other runtimes, beside edge-asc's artefacts.")
@click.argument("models", nargs=-1)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    type=click.Choice([name for name in PEERS.names() if name not in ALWAYS_MEASURED]),
    help="Runtime to measure; may be repeated. [default: all; those not installed are listed with the reason]",
)
@click.option(
    "--windows", type=Lengths(), default="10", show_default=True, help="Lengths of windows to measure besides steps, s."
)
@click.option("--steps-only", is_flag=True, help="Measure no windows.")
@click.option("--rounds", type=click.IntRange(1), default=25, show_default=True, help="Interleaved rounds.")
@click.option(
    "--output",
    type=OutputPath(folder=True),
    default=Path("build/peers"),
    show_default=True,
    help="Folder for the results: MODEL.json of each model.",
)
@threads_option
@quiet_option
def command(
    models: tuple[str, ...],
    peers: tuple[str, ...],
    windows: tuple[int, ...],
    steps_only: bool,
    rounds: int,
    output: Path,
    threads: int,
) -> None:
    """Measure MODELS in other runtimes, beside edge-asc's artefacts of them.

    MODELS are checkpoints of causal models or names of pretrained models [default: all pretrained models].

    Each runtime converts a model with its own tools: to float, and to int8 where it has a quantiser of its own.
    A converted model whose float logits differ from the artefact's by more than 0.001 is not timed. Each model runs in
    a process of its own; the rounds of all models are interleaved.
    """
    from edge_asc_bench.job import Settings
    from edge_asc_peers.preparation import prepare
    from edge_asc_peers.row import summarise

    progress = ConsoleProgress()
    settings = Settings(windows, threads, rounds)
    for model in models or zoo():
        checkpoint = locate_model(model)
        if checkpoint is None:
            raise EdgeAscError(f"{model}: no such checkpoint; expected a folder or one of {', '.join(zoo())}")
        with tempfile.TemporaryDirectory(prefix="edge-asc-peers-") as folder:
            lengths = () if steps_only else windows
            preparation = prepare(checkpoint, Path(folder), peers or PEERS.names(), lengths, progress)
            result = _measure(checkpoint, preparation, settings, progress)
        path = output / f"{checkpoint.name}.json"
        save_json(path, result.to_json())
        _show(f"{checkpoint.name}: µs for a decision, {count_noun(threads, 'thread')}", summarise(result))
        for name, reason in preparation.absent.items():
            out.print(f"absent: {name}: {reason}")
        log.print(f"written to {path}")


def _measure(checkpoint: Path, preparation: Preparation, settings: Settings, progress: ConsoleProgress) -> Result:
    """Measure all models of a preparation on this machine, and return the result."""
    import msgspec

    from edge_asc_bench.inputs import clips_from
    from edge_asc_bench.measurement import Benchmark, bench
    from edge_asc_bench.result import Conversions
    from edge_asc_bench.target import open_target

    line = shlex.join(["edge-asc", *sys.argv[1:]])
    benchmark = Benchmark(preparation.models, clips_from(checkpoint, None, None), settings, line)
    (result,) = bench(benchmark, [open_target("local")], progress=progress)
    conversions = Conversions(errors=dict(preparation.errors), absent=dict(preparation.absent))
    return msgspec.structs.replace(result, peers=conversions)


def _show(title: str, rows: list[Row]) -> None:
    table = Table(title=title, title_justify="left")
    for name in ("", "engine, least", "median", "with Python, least", "median", "eager ÷ this", "KB", "agreement"):
        table.add_column(name, justify="right" if name else "left", overflow="fold")
    for row in rows:
        table.add_row(
            row.name,
            *(f"{time:.0f}" for time in (*row.engine, *row.model)),
            "" if row.speedup is None else f"{row.speedup:.1f}",
            f"{row.bytes / 1000:.0f}",
            "" if row.agreement is None else f"{row.agreement:.4f}",
        )
    out.print(table)
