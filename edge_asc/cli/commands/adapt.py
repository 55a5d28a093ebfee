"""`edge-asc adapt`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_asc.cli.console import (
    ConsoleProgress,
    echo,
    json_option,
    out,
    print_json,
    quiet_option,
    quote,
    threads_option,
)
from edge_asc.cli.model import ModelName
from edge_asc.cli.own import own_options
from edge_asc.data.dataset import OTHER, Dataset
from edge_asc.data.own import name_model, prepare_checked
from edge_asc.data.preparation import Settings
from edge_asc.errors import require

if TYPE_CHECKING:
    from edge_asc.adaptation.adapter import Result
    from edge_asc.adaptation.base import Base
    from edge_asc.data.preparation import Prepared
    from edge_asc.jsonobject import JsonValue

# 1: first version.
SCHEMA_VERSION = 1
# Confusions that are printed.
SHOWN = 5
BASE = "fuse-50-int8"
folder_type = click.Path(exists=True, file_okay=False, path_type=Path)


@dataclass(frozen=True)
class _Options:
    """The arguments and options of the command, by their names."""

    data: Path
    model: str
    output: Path
    other: Path | None
    name: str
    seed: int
    group: str
    folds: int
    clip_seconds: float
    skip_unreadable: bool
    threads: int
    as_json: bool

    def choose_name(self, dataset: Dataset) -> str:
        """Return the name of the new model: the one given, or that of the data."""
        return self.name or name_model(dataset, "adapted")

    def prepare(self, dataset: Dataset) -> Prepared:
        """Measure and group the clips, and make folds; print what is understood.

        Raises:
            DatasetError: something is wrong with the data.
        """
        from edge_asc.adaptation.material import add_background

        if self.other:
            dataset = add_background(dataset, self.other, self.seed)
        settings = Settings(self.clip_seconds, self.folds, self.seed, self.group, skip=self.skip_unreadable)
        return prepare_checked(dataset, settings, ConsoleProgress())


@click.command("adapt", short_help="Give an artefact new classes, on the device that runs it.")
@click.argument("data", type=folder_type)
@click.option(
    "--model",
    type=ModelName(),
    default=BASE,
    show_default=True,
    help="Artefact or bundle of a causal model with the linear head, or the artefacts of a pretrained one.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="File to write, or folder, which gets a manifest, too.",
)
@click.option("--other", type=folder_type, help="Add the label `other`: all sound files of this folder.")
@click.option("--name", default="", help="Of the new model [default: the name of DATA].")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the folds.")
@own_options
@threads_option
@quiet_option
@json_option
def command(**given: Any) -> None:
    """Give an artefact the classes of DATA, with 5 to 20 clips of each; needs no torch, and no converter.

    The artefact gives its embeddings of the clips. A new output layer is fitted on them and written into a copy of the
    file, in the same format and scheme. `edge-asc data DATA` shows how DATA is read. The accuracy is that of layers
    that have not seen the groups of the clips which they are judged by.
    """
    options = _Options(**given)
    require("scipy.optimize", "adapt")
    from edge_asc.adaptation.adapter import adapt
    from edge_asc.adaptation.base import Base
    from edge_asc.adaptation.material import Material
    from edge_asc.adaptation.placing import choose_path, place

    progress = ConsoleProgress()
    dataset = Dataset.open(options.data)
    name = options.choose_name(dataset)
    base = Base.open(options.model, options.threads)
    choose_path(base, options.output, name)
    dataset = options.prepare(dataset).dataset
    material = Material.read(dataset, base.contract.front_end, progress)
    result = adapt(base, material, name, progress)
    path = place(base, result.data, result.contract, options.output)
    if options.as_json:
        print_json(to_json(base, result, path))
        return
    _print(base, result)
    echo(f"{path}: {len(result.data)} bytes, {', '.join(result.contract.labels)}")
    _print_next_steps(result, options.output)


def to_json(base: Base, result: Result, path: Path) -> dict[str, JsonValue]:
    """Return the document that `--json` prints."""
    held_out, in_file = result.held_out.confusions, result.held_out_file.confusions
    adapted = result.contract.measured.adapted
    return {
        "kind": "adapt",
        "schema_version": SCHEMA_VERSION,
        "name": result.contract.name,
        "base": base.contract.name,
        "scheme": result.contract.scheme,
        "engine": base.runtime.engine,
        "file": str(path),
        "bytes": len(result.data),
        "labels": list(result.contract.labels),
        "clips": len(result.held_out.material.targets),
        "held_out": {
            "clips": held_out.clips,
            "before": result.before,
            "float": held_out.right,
            "file": in_file.right,
            "confusions": in_file.to_json(),
        },
        "fitted": {"clips": result.fitted.clips, "file": result.fitted.right},
        "file_against_float": None if adapted is None else adapted.to_json(),
        "temperature": result.contract.temperature,
        "unknown": None if result.contract.unknown is None else result.contract.unknown.to_json(),
    }


def _print(base: Base, result: Result) -> None:
    from rich.table import Table

    from edge_asc.evaluation.accuracy import wilson_interval

    table = Table(title="Accuracy at the end of each clip")
    for column in ("model", "clips"):
        table.add_column(column)
    for column in ("right", "of", "accuracy, %", "95 % interval"):
        table.add_column(column, justify="right")
    held_out, in_file = result.held_out.confusions, result.held_out_file.confusions
    rows = [
        ("new layer in float", "held out", held_out.right, held_out.clips),
        (f"as the file computes ({result.contract.scheme})", "held out", in_file.right, in_file.clips),
        ("the file", "fitted on", result.fitted.right, result.fitted.clips),
    ]
    if result.before is not None:
        rows.insert(0, (f"{base.contract.name}, before", "held out", result.before, held_out.clips))
    for model, clips, right, count in rows:
        if count:
            low, high = wilson_interval(right, count)
            shown = (str(right), str(count), f"{100 * right / count:.1f}", f"{100 * low:.1f} to {100 * high:.1f}")
            table.add_row(model, clips, *shown)
    out.print(table)
    for each in in_file.largest()[:SHOWN]:
        echo(f"  {each.label} taken for {each.decided}: {each.count} of {each.clips}")
    if not held_out.clips:
        ConsoleProgress().note("warning: nothing can be held out, so the accuracy of this model is not known")
    if adapted := result.contract.measured.adapted:
        echo(
            f"the file and the layer in float agree in {adapted.agreement:.1%} of {adapted.steps} decisions; "
            f"logits differ by at most {adapted.max_error:.2g}"
        )


def _print_next_steps(result: Result, output: Path) -> None:
    if OTHER not in result.contract.labels:
        echo(
            f"the model always chooses one of its {len(result.contract.labels)} classes; --other FOLDER with sounds of "
            "the place lets it say none of them"
        )
    echo("next:")
    echo(f"  edge-asc classify RECORDING --model {quote(output)}")
    echo(f"  edge-asc listen --model {quote(output)}")
