"""`edge-asc quantisers`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from edge_asc.cli.console import ConsoleProgress, Lengths, log, out, quiet_option
from edge_asc.cli.model import ModelName
from edge_asc.cli.output import OutputPath, save_json
from edge_asc.zoo import find_checkpoint, zoo
from edge_asc_peers.quantiser import QUANTISERS

if TYPE_CHECKING:
    from edge_asc_bench.kinds import Quantisation
    from edge_asc_peers.quantisation import QuantisedModels


@click.command("quantisers", short_help="Compare int8 of other quantisers with edge-asc's.")
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("models", type=ModelName(), nargs=-1)
@click.option(
    "--quantiser",
    "quantisers",
    multiple=True,
    type=click.Choice(QUANTISERS.names()),
    help="Quantiser to compare; may be repeated. [default: all; those not installed are listed with the reason]",
)
@click.option("--fold", type=int, default=1, show_default=True, help="Fold whose clips are used.")
@click.option(
    "--calibration-clips",
    type=click.IntRange(1),
    default=40,
    show_default=True,
    help="Training clips of the fold to calibrate on, evenly spaced.",
)
@click.option(
    "--clips",
    type=click.IntRange(1),
    default=80,
    show_default=True,
    help="Held-out clips of the fold to evaluate on, evenly spaced.",
)
@click.option("--lengths", type=Lengths(), default="1,3,5", show_default=True, help="Seconds of audio since a reset.")
@click.option(
    "--output",
    type=OutputPath(folder=True),
    default=Path("build/quantisers"),
    show_default=True,
    help="Folder for the results: MODEL.json of each model.",
)
@quiet_option
def command(
    data: Path,
    models: tuple[str, ...],
    quantisers: tuple[str, ...],
    fold: int,
    calibration_clips: int,
    clips: int,
    lengths: tuple[int, ...],
    output: Path,
) -> None:
    """Quantise MODELS to int8 by other projects' tools and by edge-asc, and compare all with the float model.

    DATA is the folder of a data set with folds. MODELS are checkpoints of causal models or names of pretrained models
    [default: all pretrained models].

    Every quantiser gets the same float artefact and the same calibration clips, step after step, with the states that
    the float model has at each step. Nothing is timed.
    """
    from edge_asc_peers.quantisation import Clips, compare

    progress = ConsoleProgress()
    chosen = Clips.choose(data, fold, calibration_clips, clips, progress)
    for model in models or zoo():
        checkpoint = find_checkpoint(model)
        with tempfile.TemporaryDirectory(prefix="edge-asc-quantisers-") as folder:
            compared = compare(checkpoint, chosen, Path(folder), quantisers or QUANTISERS.names(), lengths, progress)
        path = output / f"{checkpoint.name}.json"
        save_json(path, compared.to_json())
        _show(checkpoint.name, compared)
        log.print(f"written to {path}")


def _show(name: str, compared: QuantisedModels) -> None:
    from edge_asc.cli.tables import accuracy_table, closeness_table

    log.print(f"{name}: calibrated on {compared.quantisation.calibration}, {compared.quantisation.steps} steps")
    results = compared.evaluation.results
    out.print(accuracy_table(results))
    if closeness := closeness_table(results):
        out.print(closeness)
    out.print(file_table(compared.quantisation))
    for title, reason in compared.quantisation.absent.items():
        out.print(f"absent: {title}: {reason}", markup=False)


def file_table(quantisation: Quantisation) -> Table:
    """Return a table of sizes and operations, with a row for each file."""
    table = Table(title="Files", title_justify="left")
    for column in ("", "KB", "integer", "float", "moves", "partitions", "outside"):
        table.add_column(column, justify="right" if column else "left")
    for title, file in quantisation.files.items():
        numbers = (file.integer, file.float, file.moves, file.partitions, file.outside)
        table.add_row(title, f"{file.bytes / 1000:.0f}", *("–" if each is None else str(each) for each in numbers))
    return table
