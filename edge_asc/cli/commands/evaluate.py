"""`edge-asc evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_asc.cli.console import Lengths, json_option, out, print_json, threads_option
from edge_asc.cli.models import checkpoint_folder, heard_notes, named
from edge_asc.zoo import DEFAULT

if TYPE_CHECKING:
    from edge_asc.cli.recordings import Recordings
    from edge_asc.evaluation.accuracy import Accuracy
    from edge_asc.runtime import Runtime


@click.command("evaluate", short_help="Accuracy at each length, side by side.")
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--model",
    "models",
    multiple=True,
    default=(DEFAULT,),
    show_default=True,
    help="Checkpoint, artefact, bundle or zoo model; may be repeated. Others are compared with the first of their "
    "form.",
)
@click.option("--lengths", type=Lengths(), default="1-10", show_default=True, help="Seconds since reset.")
@click.option("--fold", type=int, help="Only the held-out clips of this fold.")
@click.option(
    "--gain", type=click.FloatRange(-120, 60), default=0.0, show_default=True, help="Scale the input by this many dB."
)
@click.option("--recall/--no-recall", default=True, show_default=True, help="Print the recall of each class.")
@click.option(
    "--whole-clip",
    is_flag=True,
    help="First evaluate each checkpoint on whole clips in one pass, and show what every row loses to the one above.",
)
@threads_option
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
    """Stream every clip of DATA (a folder in TAU layout) from reset through each model; accuracy at each length.

    A windowed model hears a window of each length from the start of a clip. Intervals are Wilson's at 95 %. Lengths
    that no clip reaches are left out with a note.
    """
    from edge_asc.cli.recordings import Recordings
    from edge_asc.evaluation.report import loss_table, recall_table, table

    runtimes = opened(models, threads, whole_clip)
    results = measured(Recordings.open(data, fold), models, runtimes, lengths, gain=gain)
    if as_json:
        print_json(
            {
                "kind": "evaluation",
                "schema_version": 1,
                "data": data.name,
                "clips": results[0].clips,
                "fold": fold,
                "results": [result.to_json() for result in results],
            }
        )
        return
    out.print(table(results))
    if whole_clip:
        causal = {name for name, runtime in runtimes if runtime.contract.form == "causal"}
        out.print(loss_table([result for result in results if result.model in causal]))
    for result in results:
        if result.logit_error is not None:
            error = result.logit_error
            out.print(
                f"{result.model}: logit error max {error.maximum:.2g}, mean {error.mean:.2g} against {result.reference}"
            )
    if recall:
        out.print(recall_table(results))


def measured(
    recordings: Recordings,
    models: tuple[str, ...],
    runtimes: Sequence[tuple[str, Runtime]],
    lengths: tuple[int, ...],
    *,
    gain: float = 0.0,
) -> list[Accuracy]:
    """Evaluate opened models; notes name those of `models` that were trained on some of the clips."""
    from edge_asc.evaluation.accuracy import evaluate

    heard = heard_notes(models, recordings.clips)
    features = recordings.features(runtimes[0][1].contract.front_end)
    labels = recordings.dataset.labels
    found: dict[str, Accuracy] = {}
    for form in dict.fromkeys(runtime.contract.form for _, runtime in runtimes):
        alike = [(name, runtime) for name, runtime in runtimes if runtime.contract.form == form]
        results = evaluate(alike, features, recordings.targets, labels, lengths, gain=gain, progress=True)
        found |= {result.model: result for result in results}
    results = [found[name] for name, _ in runtimes]
    return [replace(result, notes=(*result.notes, *heard)) if i == 0 else result for i, result in enumerate(results)]


def opened(models: tuple[str, ...], threads: int = 1, whole_clip: bool = False) -> list[tuple[str, Runtime]]:
    """Name and engine of each model.

    With `whole_clip`, each causal checkpoint comes a second time, before itself, in one pass over whole clips.
    """
    from edge_asc.engine import open_runtime

    runtimes: list[tuple[str, Runtime]] = []
    for name, model in named(models):
        runtime = open_runtime(model, threads=threads)
        if whole_clip and (checkpoint := checkpoint_folder(model)) and runtime.contract.form == "causal":
            from edge_asc.engines.pytorch import TorchRuntime
            from edge_asc.training.checkpoint import Checkpoint

            runtimes.append((f"{name}, whole clip", TorchRuntime(Checkpoint.load(checkpoint), threads, whole=True)))
        runtimes.append((name, runtime))
    if whole_clip and len(runtimes) == len(models):
        raise click.UsageError("--whole-clip needs a causal checkpoint among the models")
    return runtimes
