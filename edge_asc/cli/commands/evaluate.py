"""`edge-asc evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from edge_asc.cli.console import (
    ConsoleProgress,
    Lengths,
    Rule,
    echo,
    json_option,
    log,
    out,
    print_json,
    quiet_option,
    threads_option,
)
from edge_asc.cli.model import ModelName, backbone_option
from edge_asc.zoo import DEFAULT

if TYPE_CHECKING:
    from edge_asc.evaluation.accuracy import Accuracy
    from edge_asc.evaluation.document import Evaluation


@click.command("evaluate", short_help="Measure accuracy at each length, side by side.")
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--model",
    "models",
    type=ModelName(),
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
    "--errors",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="Wrong clips to print for each model, the most confident ones first.",
)
@click.option(
    "--whole-clip",
    is_flag=True,
    help="Also evaluate each checkpoint on whole clips in one pass, and print how much accuracy each row loses to the "
    "row above.",
)
@click.option("--stream", is_flag=True, help="Mix the clips into one stream without resets, and report events.")
@click.option(
    "--hours", type=click.FloatRange(0.01, 1000), default=1.0, show_default=True, help="With --stream: its length."
)
@click.option(
    "--background",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="With --stream: data set whose clips of other labels are the background [default: faint noise].",
)
@click.option(
    "--sound",
    type=click.FloatRange(0, 3600),
    default=0.0,
    help="With --stream: length of a sound, s [default: one clip].",
)
@click.option(
    "--pause",
    type=click.FloatRange(0, 86400),
    default=30.0,
    show_default=True,
    help="With --stream: mean time between two sounds, s.",
)
@click.option(
    "--background-pause",
    type=click.FloatRange(0, 86400),
    default=30.0,
    show_default=True,
    help="With --background: mean time between two of its clips, s.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="With --stream: of the mixture.")
@click.option(
    "--decision", "decisions", type=Rule(), multiple=True, help="With --stream: decision rule to try; may be repeated."
)
@click.option(
    "--event-decision", type=Rule(), help="With --stream: decision rule of events [default: each model's own]."
)
@click.option(
    "--calibrate",
    "per_day",
    type=click.FloatRange(0, 100_000, min_open=True),
    metavar="PER_DAY",
    help="With --stream: choose the threshold for so many false alarms a day on its first half, and write it into each "
    "model.",
)
@backbone_option
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
    errors: int,
    whole_clip: bool,
    threads: int,
    as_json: bool,
    **streaming: Any,
) -> None:
    """Stream every clip of DATA from a reset through each model, and print the accuracy at each length.

    DATA is the folder of a data set. A windowed model gets one window of each length, from the start of a clip.
    Intervals are Wilson's at 95 %. A note names the lengths that no clip reaches. With one model, precision, recall and
    errors are those at the end of each clip.

    With --stream, sounds of DATA follow each other without an end, over a background, and events are compared with
    them: share of sounds detected, false alarms a day, seconds to detection, label changes a minute.
    """
    if streaming.pop("stream"):
        if whole_clip:
            raise click.UsageError("--whole-clip does not go with --stream")
        _evaluate_stream(data, fold, models, threads, as_json=as_json, **streaming)
        return
    if streaming["decisions"] or any(
        streaming[name] is not None for name in ("per_day", "event_decision", "background")
    ):
        raise click.UsageError("--calibrate, --decision, --event-decision and --background belong to --stream")
    from edge_asc.cli.errors import print_wrong
    from edge_asc.data.recordings import Recordings
    from edge_asc.evaluation.folder import evaluate_recordings
    from edge_asc.evaluation.models import open_models

    progress = ConsoleProgress()
    runtimes = open_models(models, threads, whole_clip=whole_clip)
    recordings = Recordings.open(data, fold, progress)
    evaluation = evaluate_recordings(recordings, models, runtimes, lengths, gain=gain, progress=progress)
    if as_json:
        print_json(evaluation.to_json())
        return
    causal = {name for name, runtime in runtimes if runtime.contract.form == "causal"}
    successive = [result for result in evaluation.results if result.model in causal] if whole_clip else []
    _print(evaluation, successive, recall)
    for each in evaluation.predictions:
        print_wrong(each, errors)


def _evaluate_stream(
    data: Path, fold: int | None, models: tuple[str, ...], threads: int, *, as_json: bool, **given: Any
) -> None:
    """Measure models on one endless stream, and write calibrated rules into them if that was asked for."""
    from edge_asc.cli.stream_evaluation import StreamRequest, label_table, run_stream, stream_table, write_rules
    from edge_asc.evaluation.models import open_models
    from edge_asc.evaluation.soundscape import Mixture

    mixture = Mixture(
        3600.0 * given["hours"],
        given["sound"],
        given["pause"],
        seed=given["seed"],
        background_pause=given["background_pause"],
    )
    request = StreamRequest(
        data, fold, given["background"], mixture, given["decisions"], given["event_decision"], given["per_day"]
    )
    if request.per_day is not None and len(request.decisions) > 1:
        raise click.UsageError("--calibrate needs one decision rule; give --decision once, or not at all")
    evaluation = run_stream(request, models, open_models(models, threads))
    if request.per_day is not None:
        for model, result in zip(models, evaluation.results, strict=True):
            log.print(Text(f"threshold written to {write_rules(model, result)}"))
    if as_json:
        print_json(evaluation.to_json())
        return
    out.print(stream_table(evaluation.results))
    for result in evaluation.results:
        out.print(label_table(result))
    for note in evaluation.notes:
        echo(note)


def _print(evaluation: Evaluation, successive: list[Accuracy], recall: bool) -> None:
    """Print tables; `successive` results are compared with the result above each."""
    from edge_asc.cli.errors import class_table, print_confusions
    from edge_asc.cli.tables import accuracy_table, closeness_table, loss_table, recall_table

    results, predictions = evaluation.results, evaluation.predictions
    out.print(accuracy_table(results))
    if closeness := closeness_table(results):
        out.print(closeness)
    if successive:
        out.print(loss_table(successive))
    for result in results:
        if (error := result.logit_error) is not None:
            echo(
                f"{result.model}: logit error max {error.maximum:.2g}, mean {error.mean:.2g} against {result.reference}"
            )
    if recall and len(predictions) == len(results) == 1:
        out.print(class_table(predictions[0]))
        print_confusions(predictions[0].confusions)
    elif recall:
        out.print(recall_table(results))
