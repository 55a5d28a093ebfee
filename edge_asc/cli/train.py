"""`edge-asc train`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_asc.cli.console import json_option, log, out, print_json, progress, threads_option
from edge_asc.errors import EdgeAscError, require

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from edge_asc.training.loop import Epoch
    from edge_asc.training.run import Run


def _setting(_: click.Context, __: click.Parameter, values: Sequence[str]) -> dict[str, Any]:
    settings = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals:
            raise click.BadParameter(f"{value!r}: expected NAME=VALUE, such as epochs=80 or augmentation.mixup=0.2")
        try:
            settings[name] = json.loads(text)
        except ValueError:
            settings[name] = text
    return settings


@click.command("train", short_help="Train a classifier.")
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="Checkpoint folder.")
@click.option("--backbone", type=click.Choice(["fuse", "bcresnet", "resnet"]), default="fuse", show_default=True)
@click.option("--form", type=click.Choice(["causal", "windowed"]), default="causal", show_default=True)
@click.option(
    "--head",
    type=click.Choice(["gru", "gap"]),
    default="gru",
    show_default=True,
    help="CRNN, or CNN baseline.",
)
@click.option("--outputs", type=click.Choice(["multi", "single"]), default="multi", show_default=True)
@click.option("--auxiliary/--no-auxiliary", default=True, show_default=True, help="The auxiliary stream.")
@click.option("--res-norm", is_flag=True, help="ResNorm, in a windowed bcresnet.")
@click.option("--dropout", type=click.FloatRange(0, 1, max_open=True), default=0.0, show_default=True)
@click.option("--recipe", default="paper", show_default=True, help="paper, small, or a JSON file.")
@click.option("--set", "settings", multiple=True, callback=_setting, help="NAME=VALUE of the recipe; may be repeated.")
@click.option("--fold", type=int, help="Train on one fold's clips, evaluate on its held-out ones.")
@click.option("--cross-validate", is_flag=True, help="Every fold, then all clips; the evaluation is pooled.")
@click.option("--licence", "licences", multiple=True, help="Train only on clips of this licence; may be repeated.")
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Distil from it.",
)
@click.option(
    "--from",
    "initial",
    type=click.Path(exists=True, path_type=Path),
    help="Checkpoint to start from, of the same or other labels.",
)
@click.option(
    "--folds-of",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Pre-train for another data set: leave out the recordings and authors that its fold holds out.",
)
@click.option("--decision", type=click.Choice(["mean", "last"]), default="mean", show_default=True)
@click.option("--name", default="", help="Of the model [default: the backbone].")
@click.option("--resume", is_flag=True, help="Go on with an interrupted training.")
@threads_option
@json_option
def command(
    data: Path,
    output: Path,
    backbone: str,
    form: Any,
    head: Any,
    outputs: Any,
    auxiliary: bool,
    res_norm: bool,
    dropout: float,
    recipe: str,
    settings: dict[str, Any],
    fold: int | None,
    cross_validate: bool,
    licences: tuple[str, ...],
    teachers: tuple[Path, ...],
    initial: Path | None,
    folds_of: Path | None,
    decision: Any,
    name: str,
    resume: bool,
    threads: int,
    as_json: bool,
) -> None:
    """Train a classifier on DATA, a folder in TAU layout.

    The recipe is the paper's unless another is named. The state is saved after every epoch: an interrupted training
    goes on with --resume and ends with the same weights.
    """
    require("torch", "train").set_num_threads(threads)
    from edge_asc.data import Dataset, FeatureCache
    from edge_asc.data.cache import default_cache
    from edge_asc.frontend import FrontEnd
    from edge_asc.models import ModelConfig
    from edge_asc.training import run as runs
    from edge_asc.training.card import write_card

    if teachers and head == "gap":
        raise click.UsageError("--teacher belongs to --head gru")
    chosen = _recipe(recipe).override(settings)
    if fold is not None and cross_validate:
        raise click.UsageError("--fold and --cross-validate exclude each other")
    if folds_of and fold is None and not cross_validate:
        raise click.UsageError("--folds-of belongs to --fold or --cross-validate")
    dataset = Dataset.open(data)
    dataset.check(progress=True)
    config = ModelConfig(
        backbone=backbone,
        form=form,
        head=head,
        output=outputs,
        auxiliary=auxiliary and head == "gru",
        classes=len(dataset.labels),
        res_norm=res_norm,
        dropout=dropout,
    )
    run = runs.Run(
        dataset=dataset,
        config=config,
        recipe=chosen,
        output=output,
        licences=licences,
        teachers=teachers,
        initial=initial,
        fold=fold,
        folds_of=Dataset.open(folds_of) if folds_of else None,
        decision=decision if form == "causal" else "last",
        name=name or backbone,
    )
    cache = FeatureCache(default_cache(), FrontEnd())
    with progress("loss {task.fields[loss]:.3f}", "accuracy {task.fields[accuracy]:.1%}") as bar:
        listener = _shown(bar)
        function = runs.cross_validate if cross_validate else runs.train
        checkpoint = function(run, cache, listener, resume=resume, record=_record)
    write_card(checkpoint, output)
    if as_json:
        print_json({"output": str(output), "training": checkpoint.training, "evaluation": checkpoint.evaluation})
        return
    for level, result in checkpoint.evaluation.get("levels_db", {}).items():
        shares = ", ".join(f"{row['seconds']} s {100 * row['accuracy']:.1f} %" for row in result["lengths"])
        out.print(f"accuracy at {level} dB: {shares}")
    out.print(f"written to {output}")


def _recipe(name: str) -> Any:
    from edge_asc.training.recipe import RECIPES, Recipe

    if name in RECIPES:
        return RECIPES[name]
    path = Path(name)
    if not path.is_file():
        raise EdgeAscError(f"{name}: no such recipe; expected {', '.join(RECIPES)} or a JSON file")
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise EdgeAscError(f"{name}: not JSON ({error}); expected the settings of a recipe") from error
    return Recipe.from_json(value)


def _record(model: Any, front_end: Any, features: Any, source: dict[str, Any]) -> dict[str, Any]:
    from edge_asc_export.calibration import calibrate

    return calibrate(model, front_end, features, source=source).to_json()


def _shown(bar: Progress) -> Any:
    from edge_asc.training.run import Listener

    class Shown(Listener):
        task: TaskID

        def started(self, run: Run, epochs: int, steps: int, clips: int) -> None:
            title = f"{run.name}: {clips} clips, {epochs} epochs"
            self.task = bar.add_task(title, total=epochs * steps, loss=0.0, accuracy=0.0)
            self.steps = steps

        def stepped(self, loss: float) -> None:
            bar.update(self.task, advance=1, loss=loss)

        def ended(self, epoch: Epoch) -> None:
            bar.update(self.task, completed=epoch.number * self.steps, loss=epoch.loss, accuracy=epoch.accuracy)
            if not bar.console.is_terminal:
                log.print(
                    f"epoch {epoch.number}: loss {epoch.loss:.3f}, accuracy {epoch.accuracy:.1%}, {epoch.seconds:.0f} s"
                )

        def noted(self, text: str) -> None:
            log.print(text)

    return Shown()
