"""What the commands that train share: options of recipe and device, and progress."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_asc.cli.console import ConsoleProgress
from edge_asc.errors import EdgeAscError, require
from edge_asc.progress import Phase

if TYPE_CHECKING:
    from edge_asc.training.listener import Listener
    from edge_asc.training.recipe import Recipe

# Between two lines about epochs, at least, s.
QUIET_SECONDS = 5.0


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


@contextmanager
def console_listener() -> Iterator[Listener]:
    """Yield a listener with a bar for all batches, and a line after the first and the last epoch and now and then."""
    from edge_asc.training.listener import Epoch, Listener

    console = ConsoleProgress()
    with ExitStack() as stack:

        class ConsoleListener(Listener):
            @contextmanager
            def phase(self, title: str, total: float | None = None) -> Iterator[Phase]:
                with console.phase(title, total) as phase:
                    yield phase

            def note(self, text: str) -> None:
                console.note(text)

            def started(self, name: str, folder: Path, epochs: int, steps: int, clips: int) -> None:
                stack.close()
                self.name, self.epochs, self.done = name, epochs, 0
                self.begun = self.noted = 0.0
                self.batches = stack.enter_context(console.phase(f"{name}: {clips} clips, {epochs} epochs", steps))

            def stepped(self, loss: float) -> None:
                self.begun = self.begun or time.monotonic()
                self.batches.advance(1, loss=loss)

            def ended(self, epoch: Epoch) -> None:
                self.done += 1
                left = (time.monotonic() - self.begun) / self.done * (self.epochs - epoch.number)
                if self.done > 1 and left and time.monotonic() - self.noted < QUIET_SECONDS:
                    return
                self.noted = time.monotonic()
                checked = "" if epoch.validation is None else f", held-out {epoch.validation:.1%}"
                console.note(
                    f"{self.name} epoch {epoch.number} of {self.epochs} ({epoch.stage}): loss {epoch.loss:.3f}, "
                    f"accuracy {epoch.accuracy:.1%}{checked}, {epoch.crops / max(epoch.seconds, 1e-9):.0f} crops/s, "
                    f"{left / 60:.0f} min left"
                )

        yield ConsoleListener()
