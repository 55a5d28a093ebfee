"""`edge-asc evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_asc.cli.console import (
    ConsoleProgress,
    Lengths,
    echo,
    json_option,
    out,
    print_json,
    quiet_option,
    threads_option,
)
from edge_asc.zoo import DEFAULT

if TYPE_CHECKING:
    from edge_asc.evaluation.accuracy import Accuracy
    from edge_asc.jsonobject import JsonValue

# 1: first version.
SCHEMA_VERSION = 1


@click.command("evaluate", short_help="Measure accuracy at each length, side by side.")
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--model",
    "models",
    multiple=True,
    default=(DEFAULT,),
    show_default=True,
    help="Checkpoint, artefact, bundle or pretrained model; may be repeated. Each model is compared with the first of "
    "its form.",
)
@click.option("--lengths", type=Lengths(), default="1-10", show_default=True, help="Seconds of audio since a reset.")
@click.option("--fold", type=int, help="Fold to evaluate: its held-out clips only.")
@click.option("--gain", type=click.FloatRange(-120, 60), default=0.0, show_default=True, help="Input gain, dB.")
@click.option("--recall/--no-recall", default=True, show_default=True, help="Print the recall of each class.")
@click.option(
    "--whole-clip",
    is_flag=True,
    help="Also evaluate each checkpoint on whole clips in one pass, and print how much accuracy each row loses to the "
    "row above.",
)
@threads_option
@quiet_option
@json_option
def command(
    data: Path,
    models: tuple[str, ...],
    lengths: tuple[int, ...],
    fold: int | None,
    gain: float,
    recall: bool,
    whole_clip: bool,
    threads: int,
    as_json: bool,
) -> None:
    """Stream every clip of DATA from a reset through each model, and print the accuracy at each length.

    DATA is the folder of a data set. A windowed model gets one window of each length, from the start of a clip.
    Intervals are Wilson's at 95 %. A note names the lengths that no clip reaches.
    """
    from edge_asc.data.recordings import Recordings
    from edge_asc.evaluation.models import measure_models, open_models

    progress = ConsoleProgress()
    runtimes = open_models(models, threads, whole_clip=whole_clip)
    recordings = Recordings.open(data, fold, progress)
    results = measure_models(recordings, models, runtimes, lengths, gain=gain, progress=progress)
    if as_json:
        print_json(Evaluation(data.name, fold, tuple(results)).to_json())
        return
    causal = {name for name, runtime in runtimes if runtime.contract.form == "causal"}
    _print(results, [result for result in results if result.model in causal] if whole_clip else [], recall)


@dataclass(frozen=True)
class Evaluation:
    """The document that `--json` prints.

    Attributes:
        data: name of the data set's folder.
        fold: fold whose held-out clips were used; None for all clips.
        results: one for each model, in the order of the command line.
    """

    data: str
    fold: int | None
    results: tuple[Accuracy, ...]

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object, which `edge-asc report` reads."""
        return {
            "kind": "evaluation",
            "schema_version": SCHEMA_VERSION,
            "data": self.data,
            "clips": self.results[0].clips,
            "fold": self.fold,
            "results": [result.to_json() for result in self.results],
        }


def _print(results: list[Accuracy], successive: list[Accuracy], recall: bool) -> None:
    """Print tables; `successive` results are compared with the result above each."""
    from edge_asc.cli.tables import accuracy_table, loss_table, recall_table

    out.print(accuracy_table(results))
    if successive:
        out.print(loss_table(successive))
    for result in results:
        if (error := result.logit_error) is not None:
            echo(
                f"{result.model}: logit error max {error.maximum:.2g}, mean {error.mean:.2g} against {result.reference}"
            )
    if recall:
        out.print(recall_table(results))
