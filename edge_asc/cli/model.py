"""Options that describe a model, and the user's word for a backbone outside edge-asc."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click
from click.shell_completion import CompletionItem

from edge_asc.backbone import BACKBONES, TRUSTED_VARIABLE, is_reference, trust_backbone
from edge_asc.errors import EdgeAscError
from edge_asc.zoo import list_names, locate_model, zoo


def _complete(names: tuple[str, ...], kind: str, incomplete: str) -> list[CompletionItem]:
    """Return names that begin like this, after the word that makes a shell offer its own paths where there are none."""
    return [CompletionItem(incomplete, type=kind), *(CompletionItem(n) for n in names if n.startswith(incomplete))]


class ModelName(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on, not before
    """The path of an artefact, a bundle or a checkpoint, or the name of a pretrained model; commands open it.

    Args:
        list_known: returns the names that a shell completes.
    """

    name = "model"

    def __init__(self, list_known: Callable[[], tuple[str, ...]] = list_names) -> None:
        self._list_known = list_known

    def convert(self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text as it is."""
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the known names, and paths."""
        return _complete(self._list_known(), "file", incomplete)


class CheckpointFolder(click.ParamType):  # type: ignore[type-arg]
    """The folder of a checkpoint, or the name of a pretrained model."""

    name = "checkpoint"

    def convert(self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the folder."""
        path = locate_model(value)
        if path is None:
            self.fail(f"got {value}; expected the folder of a checkpoint, or one of {', '.join(zoo())}", param, ctx)
        return path

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names of pretrained models, and folders."""
        return _complete(zoo(), "dir", incomplete)


class StartFolder(click.ParamType):  # type: ignore[type-arg]
    """The folder of a checkpoint, the name of a pretrained model, or "none"."""

    name = "checkpoint"

    def convert(
        self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path | Literal["none"]:
        """Return the folder, or "none"."""
        return "none" if value == "none" else CheckpointFolder().convert(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names of pretrained models, "none", and folders."""
        return _complete((*zoo(), "none"), "dir", incomplete)


class BackboneName(click.Choice):  # type: ignore[type-arg]  # generic from click 8.2 on, not before
    """The name of an installed backbone, or the reference of a class, which the user thereby trusts."""

    def __init__(self) -> None:
        super().__init__(BACKBONES.names())

    def get_metavar(self, *_: object, **__: object) -> str:
        """Return what the help shows for a value."""
        return f"[{'|'.join((*BACKBONES.names(), 'MODULE:CLASS'))}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name or the reference."""
        if not is_reference(value):
            return super().convert(value, param, ctx)
        try:
            trust_backbone(value)
        except EdgeAscError as error:
            self.fail(str(error), param, ctx)
        return value


def _trust(_: click.Context, __: click.Parameter, references: tuple[str, ...]) -> None:
    for reference in references:
        trust_backbone(reference)


# Of commands that open checkpoints.
backbone_option = click.option(
    "--backbone",
    "backbones",
    multiple=True,
    metavar="MODULE:CLASS",
    expose_value=False,
    callback=_trust,
    help="Class outside edge-asc that a checkpoint may import as its backbone. May be repeated "
    f"[environment: {TRUSTED_VARIABLE}, separated by commas].",
)


def model_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that describe a model which is to be trained."""
    for option in (
        click.option("--gru-layers", type=click.IntRange(1, 8), help="With --head gru: its layers [default: 2]."),
        click.option(
            "--gru-units", type=click.IntRange(1, 512), help="With --head gru: units of a layer [default: 10]."
        ),
        click.option(
            "--width", type=click.FloatRange(0.125, 4), help="Factor of the backbone's channels [default: 1]."
        ),
        click.option("--mels", type=click.IntRange(8, 256), help="Mel bins of the front end [default: 256]."),
        click.option("--res-norm", is_flag=True, help="ResNorm, in a windowed bcresnet."),
        click.option("--auxiliary/--no-auxiliary", default=True, show_default=True, help="The auxiliary stream."),
        click.option("--outputs", type=click.Choice(["multi", "single"]), default="multi", show_default=True),
        click.option(
            "--head",
            type=click.Choice(["gru", "linear", "gap"]),
            help="A linear layer on each embedding, recurrent layers, or the CNN baseline [default: linear; gru with "
            "--recipe paper, --form windowed, --outputs single or --no-auxiliary].",
        ),
        click.option("--form", type=click.Choice(["causal", "windowed"]), default="causal", show_default=True),
        click.option(
            "--backbone", type=BackboneName(), default="fuse", show_default=True, help="By name, or a class of yours."
        ),
    ):
        function = option(function)
    return function
