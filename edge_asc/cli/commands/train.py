"""`edge-asc train`."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edge_asc.backbone import BACKBONES
from edge_asc.cli.console import ConsoleProgress, json_option, threads_option
from edge_asc.cli.own import START, own_options, prepare_own
from edge_asc.cli.trained import Judge, Trained, print_trained
from edge_asc.cli.training import (
    CheckpointFolder,
    StartFolder,
    chosen_recipe,
    compute_options,
    console_listener,
    settings_option,
)
from edge_asc.data.dataset import OTHER
from edge_asc.data.preparation import TAU, Settings
from edge_asc.errors import require
from edge_asc.zoo import zoo_path

if TYPE_CHECKING:
    from edge_asc.data import Dataset
    from edge_asc.data.preparation import Prepared
    from edge_asc.models.crnn import Head
    from edge_asc.training.compute import Compute
    from edge_asc.training.listener import Listener
    from edge_asc.training.recipe import Recipe
    from edge_asc.training.recorder import Record
    from edge_asc.training.run import Run

# The recorder of activation ranges.
RANGES = "ranges"
folder_type = click.Path(exists=True, file_okay=False, path_type=Path)


@dataclass(frozen=True)
class _Options:
    """The arguments and options of the command, by their names."""

    data: Path
    output: Path | None
    backbone: str
    form: Any
    head: Head | None
    outputs: Any
    auxiliary: bool
    res_norm: bool
    recipe: str | None
    stages: str | None
    epochs: int | None
    settings: dict[str, Any]
    fold: int | None
    cross_validate: bool
    licences: tuple[str, ...]
    teachers: tuple[Path, ...]
    initial: Path | Literal["none"] | None
    wide: Path | None
    folds_of: Path | None
    other: Path | None
    excluded: tuple[str, ...]
    decision: Any
    name: str
    resume: bool
    tensorboard: bool
    device: str
    precision: Any
    num_workers: int | None
    group: str
    folds: int
    clip_seconds: float
    skip_unreadable: bool
    threads: int
    as_json: bool

    def check(self) -> None:
        """Check that the options go together.

        Raises:
            click.UsageError: two options exclude each other, or one needs another.
        """
        head = self.choose_head()
        if self.teachers and head == "gap":
            raise click.UsageError("--teacher belongs to --head gru or linear")
        if self.fold is not None and self.cross_validate:
            raise click.UsageError("--fold and --cross-validate exclude each other")
        if self.folds_of and self.fold is None and not self.cross_validate:
            raise click.UsageError("--folds-of belongs to --fold or --cross-validate")
        if self.wide and (isinstance(self.initial, Path) or self.folds_of):
            raise click.UsageError("--pretrain excludes --from and --folds-of")
        if self.wide and head == "gap":
            raise click.UsageError("--pretrain belongs to --head gru or linear")
        if self.excluded and not self.other:
            raise click.UsageError("--other-except belongs to --other")

    def choose_head(self) -> Head:
        """Return the head asked for, or else the more accurate one: linear, where the training is not the paper's."""
        if self.head is not None:
            return self.head
        is_paper = self.recipe == "paper" or self.form == "windowed" or self.outputs == "single"
        return "gru" if is_paper or not self.auxiliary else "linear"

    @property
    def checkpoint_folder(self) -> Path:
        """The folder to write to, of completed options."""
        assert self.output is not None
        return self.output

    def make_settings(self, seed: int) -> Settings:
        """Return how data that are not in TAU layout are prepared."""
        return Settings(self.clip_seconds, self.folds, seed, self.group, skip=self.skip_unreadable)

    @property
    def start(self) -> Path | None:
        """The checkpoint to start from."""
        return self.initial if isinstance(self.initial, Path) else None

    def complete(self, dataset: Dataset) -> _Options:
        """Return the options with those that are left open filled in.

        Data in TAU layout are trained as the options say. Other data start from a pretrained model, and train the head
        alone, unless an option asks for another model or recipe.
        """
        name = re.sub(r"[^\w.-]+", "-", dataset.name).strip("-.") or "own"
        output = self.output or Path("runs") / name
        if dataset.layout == TAU:
            return replace(self, output=output)
        model = (self.backbone, self.form, self.head, self.outputs, self.auxiliary, self.res_norm)
        is_open = model == ("fuse", "causal", None, "multi", True, False) and not (self.recipe or self.stages)
        initial = self.initial
        if initial is None and is_open and not self.wide and not self.teachers:
            initial = zoo_path(START)
        stages = "head" if isinstance(initial, Path) and not self.recipe else None
        return replace(self, output=output, initial=initial, stages=self.stages or stages, name=self.name or name)

    def choose_folds(self, prepared: Prepared) -> _Options:
        """Return the options with the folds to train, unless they are given: all where the clips are few, or else one.

        Where nothing can be held out, there are none.
        """
        folds = prepared.dataset.folds
        if self.fold is not None or self.cross_validate or self.folds_of or not folds:
            return self
        if prepared.is_cross_validated:
            return replace(self, cross_validate=True)
        return replace(self, fold=next(iter(folds)))

    def choose_recipe(self, dataset: Dataset) -> Recipe:
        """Return the recipe with the settings and the stages asked for."""
        head = self.choose_head()
        default = "staged" if head == "linear" or (self.auxiliary and head == "gru") else "paper"
        recipe = chosen_recipe(self.recipe or default, self.settings, self.epochs, is_linear=head == "linear")
        if (self.other or OTHER in dataset.labels) and not any(
            setting.endswith("class_balance") for setting in self.settings
        ):
            recipe = recipe.override({"class_balance": 1.0})  # or the many foreign clips draw known sounds to `other`
        if self.stages:
            recipe = recipe.only(tuple(self.stages.split(",")))
        elif head == "linear" and not self.wide:
            recipe = recipe.without_head()
        return recipe

    def make_run(self, recipe: Recipe, dataset: Dataset) -> Run:
        """Return the training that the options describe."""
        from edge_asc.data import Dataset
        from edge_asc.models import ModelConfig
        from edge_asc.training.material import OtherSounds
        from edge_asc.training.run import Run

        head = self.choose_head()
        sounds = OtherSounds(Dataset.open(self.other), self.excluded) if self.other else None
        config = ModelConfig(
            backbone=self.backbone,
            form=self.form,
            head=head,
            output=self.outputs,
            auxiliary=self.auxiliary and head == "gru",
            classes=len(dataset.labels) + (sounds is not None and OTHER not in dataset.labels),
            res_norm=self.res_norm,
            dropout=recipe.dropout,
        )
        return Run(
            dataset=dataset,
            config=config,
            recipe=recipe,
            output=self.checkpoint_folder,
            licences=self.licences,
            teachers=self.teachers,
            initial=self.start,
            fold=self.fold,
            folds_of=Dataset.open(self.folds_of) if self.folds_of else None,
            other=sounds,
            decision=self.decision if self.form == "causal" else "last",
            name=self.name or self.backbone,
        )


@click.command("train", short_help="Train a classifier.")
@click.argument("data", type=folder_type)
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help="Checkpoint folder [default: runs/NAME of DATA]."
)
@click.option("--backbone", type=click.Choice(BACKBONES.names()), default="fuse", show_default=True)
@click.option("--form", type=click.Choice(["causal", "windowed"]), default="causal", show_default=True)
@click.option(
    "--head",
    type=click.Choice(["gru", "linear", "gap"]),
    help="A linear layer on each embedding, recurrent layers, or the CNN baseline [default: linear; gru with "
    "--recipe paper, --form windowed, --outputs single or --no-auxiliary].",
)
@click.option("--outputs", type=click.Choice(["multi", "single"]), default="multi", show_default=True)
@click.option("--auxiliary/--no-auxiliary", default=True, show_default=True, help="The auxiliary stream.")
@click.option("--res-norm", is_flag=True, help="ResNorm, in a windowed bcresnet.")
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
@click.option("--decision", type=click.Choice(["mean", "last"]), default="mean", show_default=True)
@click.option("--name", default="", help="Of the model [default: the backbone].")
@click.option("--resume", is_flag=True, help="Continue an interrupted training.")
@click.option("--tensorboard", is_flag=True, help="Write curves for TensorBoard below the checkpoint folder.")
@own_options
@compute_options
@threads_option
@json_option
def command(**given: Any) -> None:
    """Train a classifier on DATA, a folder of recordings.

    DATA has a folder for each class, a table of labels, or the TAU layout; `edge-asc data DATA` shows how it is read.
    Unless DATA has the TAU layout, the pretrained model fuse-50 gets a new last layer, folds are made where there are
    none, fewer than 2000 clips are cross-validated, and long recordings are cut.

    The state is saved after every epoch: an interrupted training continues with --resume and ends with the same
    weights. Where torchrun launches this command, its processes, on one machine or several, share each batch.
    """
    options = _Options(**given)
    options.check()
    from edge_asc.data import Dataset

    dataset = Dataset.open(options.data)
    options = options.complete(dataset)
    recipe = options.choose_recipe(dataset)
    require("torch", "train").set_num_threads(options.threads)
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
                prepared = prepare_own(dataset, settings, output if compute.is_main_process else None)
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
    from edge_asc.frontend import FrontEnd
    from edge_asc.training import run as runs
    from edge_asc.training.card import CARDS, write_card
    from edge_asc.training.listener import Listener, Listeners
    from edge_asc.training.tensorboard import TensorBoardListener

    cache = FeatureCache(default_cache(), FrontEnd())
    function = runs.cross_validate if cross_validate else runs.train
    with console_listener() as console:
        listener, judge = Listener(), Judge()
        if compute.is_main_process:
            listener = Listeners(console, judge, *([TensorBoardListener()] if tensorboard else []))
        checkpoint = function(run, cache, listener, resume=resume, record=_find_recorder(listener), compute=compute)
    if compute.is_main_process:
        path = write_card(checkpoint, run.output)
        if path.name != CARDS[0]:
            ConsoleProgress().note(f"{run.output / CARDS[0]} is not edge-asc's: the model card is {path.name}")
    return Trained(checkpoint, run.output, run.dataset.layout != TAU, judge.predictions)


def _find_recorder(listener: Listener) -> Record | None:
    """Return what records activation ranges: registered by the package that exports."""
    from edge_asc.training.recorder import RECORDERS

    if RANGES not in RECORDERS.names():
        listener.note("activation ranges are not recorded: the export package is not installed")
        return None
    return RECORDERS.load(RANGES).record
