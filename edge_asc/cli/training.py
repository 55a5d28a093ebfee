"""Options of the commands that train: recipe and device."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_asc.errors import EdgeAscError, require

if TYPE_CHECKING:
    from edge_asc.training.recipe import Recipe


def _parse_settings(_: click.Context, __: click.Parameter, values: Sequence[str]) -> dict[str, Any]:
    settings = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals:
            raise click.BadParameter(f"{value!r}: expected NAME=VALUE, such as trunk.epochs=40 or seed=1")
        try:
            settings[name] = json.loads(text)
        except ValueError:
            settings[name] = text
    return settings


class CheckpointFolder(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on, not before
    """The folder of a checkpoint, or the name of a pretrained model."""

    name = "checkpoint"

    def convert(self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the folder."""
        from edge_asc.zoo import locate_model, zoo

        path = locate_model(value)
        if path is None:
            self.fail(f"got {value}; expected the folder of a checkpoint, or one of {', '.join(zoo())}", param, ctx)
        return path


recipe_option = click.option(
    "--recipe", default="paper", show_default=True, help="paper, staged, or a JSON file of settings."
)
settings_option = click.option(
    "--set",
    "settings",
    multiple=True,
    callback=_parse_settings,
    help="NAME=VALUE of the recipe, such as trunk.epochs=40; without the name of a stage, of every stage. "
    "May be repeated.",
)


def compute_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--device`, `--precision` and `--num-workers`, the arguments of `edge_asc.training.compute.launched`."""
    for option in (
        click.option(
            "--num-workers",
            type=click.IntRange(0, 64),
            help="Processes that prepare batches [default: 0, or 4 for a GPU].",
        ),
        click.option(
            "--precision",
            type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
            default="auto",
            show_default=True,
            help="Of matrix products; auto is mixed precision on a GPU, float32 on a CPU.",
        ),
        click.option("--device", default="auto", show_default=True, help="cpu, cuda or cuda:N."),
    ):
        function = option(function)
    return function


def chosen_recipe(name: str, settings: dict[str, Any], epochs: int | None = None, *, is_linear: bool = False) -> Recipe:
    """The recipe of this name, or of this JSON file, with `epochs` in its longest stage and some settings replaced.

    That of a name fits the head, if it is a linear one.

    Raises:
        EdgeAscError: no such recipe, or an unknown or bad setting.
        MissingExtraError: msgspec is not installed.
    """
    require("msgspec", "train")
    from edge_asc.training.recipe import RECIPES, Recipe

    if name in RECIPES:
        recipe = RECIPES[name].for_linear_head() if is_linear else RECIPES[name]
    else:
        path = Path(name)
        if not path.is_file():
            raise EdgeAscError(f"{name}: no such recipe; expected {', '.join(RECIPES)} or a JSON file")
        try:
            value = json.loads(path.read_text())
        except ValueError as error:
            raise EdgeAscError(f"{name}: not JSON ({error}); expected the settings of a recipe") from error
        recipe = Recipe.from_json(value)
    if epochs is not None:
        recipe = recipe.with_epochs(epochs)
    return recipe.override(settings)
