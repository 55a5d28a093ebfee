"""`edge-asc train`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_asc.cli.console import ConsoleProgress, json_option, quiet_option, threads_option
from edge_asc.cli.model import model_options
from edge_asc.cli.own import own_options, prepare_own
from edge_asc.cli.request import TrainRequest
from edge_asc.cli.trained import Judge, Trained, print_trained
from edge_asc.cli.training import (
    CheckpointFolder,
    StartFolder,
    compute_options,
    console_listener,
    settings_option,
)
from edge_asc.data.preparation import TAU
from edge_asc.errors import ExportError, require
from edge_asc.frontend import FrontEnd

if TYPE_CHECKING:
    from edge_asc.data import Dataset
    from edge_asc.models.crnn import ModelConfig
    from edge_asc.training.compute import Compute
    from edge_asc.training.listener import Listener
    from edge_asc.training.recorder import Record
    from edge_asc.training.run import Run

# The recorder of activation ranges.
RANGES = "ranges"
folder_type = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("train", short_help="Train a classifier.")
@click.argument("data", type=folder_type)
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help="Checkpoint folder [default: runs/NAME of DATA]."
)
@model_options
@click.option(
    "--recipe",
    help="paper, staged, or a JSON file of settings [default: staged; paper without the auxiliary stream].",
)
@click.option("--stages", help="Only these stages of the recipe, such as head, or trunk,head.")
@click.option("--epochs", type=click.IntRange(1), help="Of the longest stage; the others are scaled alike.")
@settings_option
@click.option("--fold", type=int, help="Train on one fold's clips, evaluate on its held-out ones.")
@click.option("--cross-validate", is_flag=True, help="Every fold, then all clips; the evaluation is pooled.")
@click.option("--licence", "licences", multiple=True, help="Train only on clips of this licence; may be repeated.")
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    type=CheckpointFolder(),
    help="Checkpoint or pretrained model to distil from.",
)
@click.option(
    "--from",
    "initial",
    type=StartFolder(),
    help="Checkpoint or pretrained model to start from, of the same or other labels, or none [default: fuse-50; none "
    "for data in TAU layout].",
)
@click.option(
    "--pretrain",
    "wide",
    type=folder_type,
    help="Train on this larger data set first, without what the folds of DATA hold out; then the head on DATA.",
)
@click.option(
    "--folds-of",
    type=folder_type,
    help="Pre-train for another data set: leave out the recordings and authors that its fold holds out.",
)
@click.option("--other", type=folder_type, help="Add the label `other`: this data set's clips of foreign labels.")
@click.option(
    "--other-except",
    "excluded",
    multiple=True,
    metavar="LABEL",
    help="Foreign label to keep back; the label `other` is judged by its clips. May be repeated.",
)
@click.option(
    "--leave-out",
    "left_out",
    type=folder_type,
    help="Keep this data set for a test: train on none of its recordings and authors.",
)
@click.option("--decision", type=click.Choice(["mean", "last"]), default="mean", show_default=True)
@click.option("--name", default="", help="Of the model [default: the backbone].")
@click.option("--resume", is_flag=True, help="Continue an interrupted training.")
@click.option("--tensorboard", is_flag=True, help="Write curves for TensorBoard below the checkpoint folder.")
@own_options
@compute_options
@threads_option
@quiet_option
@json_option
def command(**given: Any) -> None:
    """Train a classifier on DATA, a folder of recordings.

    DATA has a folder for each class, a table of labels, or the TAU layout; `edge-asc data DATA` shows how it is read.
    Unless DATA has the TAU layout, the pretrained model fuse-50 gets a new last layer, folds are made where there are
    none, fewer than 2000 clips are cross-validated, and long recordings are cut.

    The state is saved after every epoch: an interrupted training continues with --resume and ends with the same
    weights. Where torchrun launches this command, its processes, on one machine or several, share each batch.
    """
    options = TrainRequest(**given)
    options.check()
    from edge_asc.data import Dataset

    dataset = Dataset.open(options.data)
    options = options.complete(dataset)
    recipe = options.choose_recipe(dataset)
    require("torch", "train").set_num_threads(options.threads)
    from edge_asc.models import build

    build(options.make_config(recipe, classes=2))  # a backbone that cannot be used shows before anything is read
    from edge_asc.output import claim_folder
    from edge_asc.training.card import find_card_path
    from edge_asc.training.compute import launched
    from edge_asc.training.state import OUTPUT_BYTES, check_folder

    with launched(options.device, options.precision, options.num_workers) as compute, ExitStack() as stack:
        output, is_own = options.checkpoint_folder, dataset.layout != TAU
        if compute.is_main_process:
            stack.enter_context(claim_folder(output, OUTPUT_BYTES))
            check_folder(output, resume=options.resume)
            find_card_path(output)
        if is_own:
            settings = options.make_settings(recipe.seed)
            with compute.main_process_first():
                prepared = prepare_own(
                    dataset, settings, output if compute.is_main_process else None, options.front_end
                )
            options, dataset = options.choose_folds(prepared), prepared.dataset
        run = options.make_run(recipe, dataset)
        runs = _chain(run, Dataset.open(options.wide)) if options.wide else [run]
        for each in runs:
            if compute.is_main_process:
                check_folder(each.output, resume=options.resume)
                find_card_path(each.output)
                if not is_own or each.dataset is not run.dataset:
                    each.dataset.check(ConsoleProgress())
            trained = _train(
                each,
                compute,
                resume=options.resume,
                cross_validate=options.cross_validate,
                tensorboard=options.tensorboard,
            )
    if compute.is_main_process:
        print_trained(trained, as_json=options.as_json)


def _chain(run: Run, wide: Dataset) -> list[Run]:
    """The training on the larger data set, and that of the head on the target's."""
    heads = tuple(stage.name for stage in run.recipe.stages if stage.trains == "head")
    if not heads or len(heads) == len(run.recipe.stages):
        raise click.UsageError("--pretrain needs a recipe with a trunk and a head, such as staged")
    first = replace(
        run,
        dataset=wide,
        config=replace(run.config, head="linear", auxiliary=False, classes=len(wide.labels)),
        recipe=run.recipe.without_head(),
        output=run.output / "pretrained",
        folds_of=run.dataset,
        other=None,
        name=f"{run.name}-pretrained",
    )
    second = replace(run, recipe=run.recipe.only(heads), initial=first.output, teachers=())
    return [first, second]


def _train(run: Run, compute: Compute, *, resume: bool, cross_validate: bool, tensorboard: bool) -> Trained:
    from edge_asc.data import FeatureCache
    from edge_asc.data.cache import default_cache
    from edge_asc.training import run as runs
    from edge_asc.training.card import CARDS, write_card
    from edge_asc.training.listener import Listener, Listeners
    from edge_asc.training.tensorboard import TensorBoardListener

    cache = FeatureCache(default_cache(), FrontEnd(mels=run.config.mels))
    function = runs.cross_validate if cross_validate else runs.train
    with console_listener() as console:
        listener, judge = Listener(), Judge()
        if compute.is_main_process:
            listener = Listeners(console, judge, *([TensorBoardListener()] if tensorboard else []))
        record = _find_recorder(run.config, listener)
        checkpoint = function(run, cache, listener, resume=resume, record=record, compute=compute)
    if compute.is_main_process:
        path = write_card(checkpoint, run.output)
        if path.name != CARDS[0]:
            ConsoleProgress().note(f"{run.output / CARDS[0]} is not edge-asc's: the model card is {path.name}")
    return Trained(checkpoint, run.output, run.dataset.layout != TAU, judge.predictions)


def _find_recorder(config: ModelConfig, listener: Listener) -> Record | None:
    """Return what records activation ranges, registered by the package that exports; None where it cannot."""
    from edge_asc.models import CRNN, build
    from edge_asc.training.recorder import RECORDERS

    if RANGES not in RECORDERS.names():
        listener.note("activation ranges are not recorded: the export package is not installed")
        return None
    recorder, model = RECORDERS.load(RANGES), build(config)
    try:
        if isinstance(model, CRNN):
            recorder.check(model)
    except ExportError as error:
        listener.note(f"warning: this model can be trained, and not exported: {error}")
        return None
    return recorder.record
