"""`edge-asc train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_asc.backbone import BACKBONES
from edge_asc.cli.console import ConsoleProgress, json_option, log, out, print_json, progress, threads_option
from edge_asc.cli.training import chosen_recipe, compute_options, recipe_option, record, settings_option
from edge_asc.errors import require

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from edge_asc.training.checkpoint import Checkpoint
    from edge_asc.training.compute import Compute
    from edge_asc.training.loop import Epoch
    from edge_asc.training.run import Run


@click.command("train", short_help="Train a classifier.")
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="Checkpoint folder.")
@click.option("--backbone", type=click.Choice(BACKBONES.names()), default="fuse", show_default=True)
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
@recipe_option
@settings_option
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
@compute_options
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
    device: str,
    precision: Any,
    loaders: int | None,
    threads: int,
    as_json: bool,
) -> None:
    """Train a classifier on DATA, a folder in TAU layout.

    The recipe is the paper's unless another is named. The state is saved after every epoch: an interrupted training
    goes on with --resume and ends with the same weights. Where torchrun launches this command, its processes, on one
    machine or several, share each batch.
    """
    require("torch", "train").set_num_threads(threads)
    from edge_asc.data import Dataset
    from edge_asc.models import ModelConfig
    from edge_asc.training.compute import launched
    from edge_asc.training.run import Run

    if teachers and head == "gap":
        raise click.UsageError("--teacher belongs to --head gru")
    chosen = chosen_recipe(recipe, settings)
    if fold is not None and cross_validate:
        raise click.UsageError("--fold and --cross-validate exclude each other")
    if folds_of and fold is None and not cross_validate:
        raise click.UsageError("--folds-of belongs to --fold or --cross-validate")
    dataset = Dataset.open(data)
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
    run = Run(
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
    with launched(device, precision, loaders) as compute:
        if compute.leads:
            dataset.check(ConsoleProgress())
        checkpoint = _trained(run, compute, resume=resume, cross_validate=cross_validate)
    if not compute.leads:
        return
    if as_json:
        print_json({"output": str(output), "training": checkpoint.training, "evaluation": checkpoint.evaluation})
        return
    for level, result in checkpoint.evaluation.get("levels_db", {}).items():
        shares = ", ".join(f"{row['seconds']} s {100 * row['accuracy']:.1f} %" for row in result["lengths"])
        out.print(f"accuracy at {level} dB: {shares}")
    out.print(f"written to {output}")


def _trained(run: Run, compute: Compute, *, resume: bool, cross_validate: bool) -> Checkpoint:
    from edge_asc.data import FeatureCache
    from edge_asc.data.cache import default_cache
    from edge_asc.frontend import FrontEnd
    from edge_asc.training import run as runs
    from edge_asc.training.card import write_card

    cache = FeatureCache(default_cache(), FrontEnd())
    function = runs.cross_validate if cross_validate else runs.train
    with progress("loss {task.fields[loss]:.3f}", "accuracy {task.fields[accuracy]:.1%}") as bar:
        listener = _shown(bar) if compute.leads else runs.Listener()
        checkpoint = function(run, cache, listener, resume=resume, record=record, compute=compute)
    if compute.leads:
        write_card(checkpoint, run.output)
    return checkpoint


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
