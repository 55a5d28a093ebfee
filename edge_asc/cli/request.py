"""The request of `edge-asc train`: its arguments and options."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from edge_asc.cli.own import START, name_model
from edge_asc.cli.training import chosen_recipe
from edge_asc.data.dataset import OTHER
from edge_asc.data.preparation import TAU, Settings
from edge_asc.frontend import MELS, FrontEnd
from edge_asc.zoo import zoo_path

if TYPE_CHECKING:
    from edge_asc.data import Dataset
    from edge_asc.data.preparation import Prepared
    from edge_asc.models.crnn import Head, ModelConfig
    from edge_asc.training.recipe import Recipe
    from edge_asc.training.run import Run


@dataclass(frozen=True)
class TrainRequest:
    """The arguments and options of the command, by their names."""

    data: Path
    output: Path | None
    backbone: str
    form: Any
    head: Head | None
    outputs: Any
    auxiliary: bool
    res_norm: bool
    mels: int | None
    width: float | None
    gru_units: int | None
    gru_layers: int | None
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
    left_out: Path | None
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
        if (self.gru_units or self.gru_layers) and head != "gru":
            raise click.UsageError("--gru-units and --gru-layers belong to --head gru")

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
    def has_own_sizes(self) -> bool:
        """Whether the model was asked for in another size than that of the pretrained models."""
        return any((self.mels, self.width, self.gru_units, self.gru_layers))

    @property
    def front_end(self) -> FrontEnd:
        """The front end, without normalisation."""
        return FrontEnd(mels=self.mels or MELS)

    @property
    def start(self) -> Path | None:
        """The checkpoint to start from."""
        return self.initial if isinstance(self.initial, Path) else None

    def complete(self, dataset: Dataset) -> TrainRequest:
        """Return the options with those that are left open filled in.

        Data in TAU layout are trained as the options say. Other data start from a pretrained model, and train the head
        alone, unless an option asks for another model or recipe.
        """
        name = name_model(dataset, "own")
        output = self.output or Path("runs") / name
        if dataset.layout == TAU:
            return replace(self, output=output)
        model = (self.backbone, self.form, self.head, self.outputs, self.auxiliary, self.res_norm)
        is_open = model == ("fuse", "causal", None, "multi", True, False) and not (
            self.recipe or self.stages or self.has_own_sizes
        )
        initial = self.initial
        if initial is None and is_open and not self.wide and not self.teachers:
            initial = zoo_path(START)
        stages = "head" if isinstance(initial, Path) and not self.recipe else None
        return replace(self, output=output, initial=initial, stages=self.stages or stages, name=self.name or name)

    def choose_folds(self, prepared: Prepared) -> TrainRequest:
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

    def make_config(self, recipe: Recipe, classes: int) -> ModelConfig:
        """Return the model that the options describe.

        Raises:
            EdgeAscError: its backbone cannot be loaded, or lacks an option.
        """
        from edge_asc.models import ModelConfig

        head = self.choose_head()
        return ModelConfig(
            backbone=self.backbone,
            form=self.form,
            head=head,
            output=self.outputs,
            auxiliary=self.auxiliary and head == "gru",
            classes=classes,
            res_norm=self.res_norm,
            dropout=recipe.dropout,
            mels=self.mels or ModelConfig.mels,
            width=self.width or ModelConfig.width,
            gru_units=self.gru_units or ModelConfig.gru_units,
            gru_layers=self.gru_layers or ModelConfig.gru_layers,
        )

    def make_run(self, recipe: Recipe, dataset: Dataset) -> Run:
        """Return the training that the options describe."""
        from edge_asc.data import Dataset
        from edge_asc.training.material import OtherSounds
        from edge_asc.training.run import Run

        sounds = OtherSounds(Dataset.open(self.other), self.excluded) if self.other else None
        classes = len(dataset.labels) + (sounds is not None and OTHER not in dataset.labels)
        return Run(
            dataset=dataset,
            config=self.make_config(recipe, classes),
            recipe=recipe,
            output=self.checkpoint_folder,
            licences=self.licences,
            teachers=self.teachers,
            initial=self.start,
            fold=self.fold,
            folds_of=Dataset.open(self.folds_of) if self.folds_of else None,
            other=sounds,
            left_out=Dataset.open(self.left_out) if self.left_out else None,
            decision=self.decision if self.form == "causal" else "last",
            name=self.name or self.backbone.rpartition(":")[2].lower(),
        )
