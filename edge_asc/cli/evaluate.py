"""`edge-asc evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_asc.cli.console import Lengths, json_option, log, out, print_json, threads_option
from edge_asc.zoo import DEFAULT

if TYPE_CHECKING:
    from edge_asc.data.dataset import Clip, Dataset


@click.command("evaluate", short_help="Accuracy at each length, side by side.")
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--model",
    "models",
    multiple=True,
    default=(DEFAULT,),
    show_default=True,
    help="Checkpoint, artefact, bundle or zoo model; may be repeated. Others are compared with the first.",
)
@click.option("--lengths", type=Lengths(), default="1-10", show_default=True, help="Seconds since reset.")
@click.option("--fold", type=int, help="Only the held-out clips of this fold.")
@click.option("--gain", type=float, default=0.0, show_default=True, help="Scale the input by this many dB.")
@click.option("--recall/--no-recall", default=True, show_default=True, help="Print the recall of each class.")
@threads_option
@json_option
def command(
    data: Path,
    models: tuple[str, ...],
    lengths: tuple[int, ...],
    fold: int | None,
    gain: float,
    recall: bool,
    threads: int,
    as_json: bool,
) -> None:
    """Stream every clip of DATA (a folder in TAU layout) from reset through each model; accuracy at each length.

    Intervals are Wilson's at 95 %. Lengths that no clip reaches are left out with a note.
    """
    from edge_asc.data import Dataset, FeatureCache
    from edge_asc.data.cache import default_cache
    from edge_asc.evaluation.accuracy import evaluate
    from edge_asc.evaluation.report import recall_table, table
    from edge_asc.runtimes import open_runtime

    runtimes = [(_name(model), open_runtime(model, threads=threads)) for model in models]
    dataset = Dataset.open(data)
    clips = dataset.clips if fold is None else dataset.split(fold, "evaluate")
    heard = _warn_if_trained_on(models, dataset, clips)
    features = FeatureCache(default_cache(), runtimes[0][1].contract.front_end).features(dataset, clips)
    targets = [dataset.labels.index(clip.label) for clip in clips]
    results = evaluate(runtimes, features, targets, dataset.labels, lengths, gain=gain, progress=True)
    if as_json:
        print_json(
            {
                "kind": "evaluation",
                "schema_version": 1,
                "data": dataset.name,
                "clips": len(clips),
                "fold": fold,
                "trained_on": heard,
                "results": [result.to_json() for result in results],
            }
        )
        return
    out.print(table(results))
    for result in results:
        if result.logit_error is not None:
            error = result.logit_error
            out.print(
                f"{result.model}: logit error max {error.maximum:.2g}, mean {error.mean:.2g} against {result.reference}"
            )
    if recall:
        out.print(recall_table(results))


def _name(model: str) -> str:
    path = Path(model)
    return path.name if path.exists() else model


def _warn_if_trained_on(models: tuple[str, ...], dataset: Dataset, clips: tuple[Clip, ...]) -> dict[str, int]:
    """How many of the clips each checkpoint was trained on; says so, since accuracy on them is no measure."""
    from edge_asc.training.checkpoint import is_checkpoint, read_metadata
    from edge_asc.training.run import trained_on
    from edge_asc.zoo import zoo_path

    found = {}
    for model in models:
        path: Any = Path(model) if Path(model).exists() else zoo_path(model)
        if path is None or not is_checkpoint(path):
            continue
        training = read_metadata(path)["training"]
        found[_name(model)] = count = trained_on(training, [clip.filename for clip in clips])
        if count:
            log.print(
                f"{_name(model)} was trained on {count} of these {len(clips)} clips: its accuracy here says how alike "
                "the models are, not how good. The card of the checkpoint has the accuracy on held-out clips."
            )
    return found
