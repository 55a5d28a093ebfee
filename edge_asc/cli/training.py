"""What the commands that train share: recipe, device, and the recording of activation ranges."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_asc.errors import EdgeAscError

if TYPE_CHECKING:
    from edge_asc.training.recipe import Recipe


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


recipe_option = click.option(
    "--recipe", default="paper", show_default=True, help="paper, small, or a JSON file of settings."
)
settings_option = click.option(
    "--set", "settings", multiple=True, callback=_setting, help="NAME=VALUE of the recipe; may be repeated."
)


def compute_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--device`, `--precision` and `--loaders`, the arguments of `edge_asc.training.compute.launched`."""
    for option in (
        click.option(
            "--loaders",
            type=click.IntRange(0, 64),
            help="Processes that prepare batches [default: 0, or 4 for a GPU].",
        ),
        click.option(
            "--precision",
            type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
            default="auto",
            show_default=True,
            help="Of products; auto is mixed precision on a GPU, float32 on a CPU.",
        ),
        click.option("--device", default="auto", show_default=True, help="cpu, cuda or cuda:N."),
    ):
        function = option(function)
    return function


def chosen_recipe(name: str, settings: dict[str, Any]) -> Recipe:
    """The recipe of this name, or of this JSON file, with some settings replaced.

    Raises:
        EdgeAscError: no such recipe, or an unknown or bad setting.
    """
    from edge_asc.training.recipe import RECIPES, Recipe

    if name in RECIPES:
        return RECIPES[name].override(settings)
    path = Path(name)
    if not path.is_file():
        raise EdgeAscError(f"{name}: no such recipe; expected {', '.join(RECIPES)} or a JSON file")
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise EdgeAscError(f"{name}: not JSON ({error}); expected the settings of a recipe") from error
    return Recipe.from_json(value).override(settings)


def record(model: Any, front_end: Any, features: Any, source: dict[str, Any]) -> dict[str, Any]:
    """The activation ranges that go into a checkpoint; none where no recorder is installed."""
    from edge_asc.progress import SILENT
    from edge_asc.training.recorder import RECORDERS

    if "ranges" not in RECORDERS.names():
        return {}
    return RECORDERS.load("ranges").record(model, front_end, features, source, SILENT)
