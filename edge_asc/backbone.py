"""Backbones: the convolutional part of a model, chosen by a registered name or by a reference to a class.

A reference, `package.module:Class`, is code outside edge-asc. A file must not decide which code runs: a reference that
comes from a checkpoint is imported only where the user has named the same one, with `--backbone` or in the environment
variable EDGE_ASC_BACKBONE.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from edge_asc.contract import FORMS, Form
from edge_asc.errors import EdgeAscError
from edge_asc.registry import Registry

if TYPE_CHECKING:
    from edge_asc.models.layers import BackboneModule

# References that the user trusts, separated by commas. Child processes get them, too.
TRUSTED_VARIABLE = "EDGE_ASC_BACKBONE"
REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
# What a model may ask of a backbone beside its form.
OPTIONS = ("mels", "width", "res_norm")


@dataclass(frozen=True)
class Backbone:
    """One backbone.

    Attributes:
        name: unique name, such as "fuse", or the reference of a class, such as "my_package.nets:Tiny".
        title: name that a user reads, such as "BC-ResNet".
        build: makes the module with fresh weights: build(form, **options), where `form` is one of `forms`. The module
            turns log-mel, (batch, 1, mels, time), into (batch, channels, rows, time / 8).
        options: those of OPTIONS that `build` takes: "mels", the mel bins of the input, 256 by default; "width", a
            factor of its channels, 1 by default; "res_norm", whether it uses ResNorm.
        forms: forms that it can be built in.
    """

    name: str
    title: str
    build: Callable[..., BackboneModule]
    options: tuple[str, ...] = ()
    forms: tuple[Form, ...] = FORMS


BACKBONES: Registry[Backbone] = Registry("edge_asc.backbones", Backbone, "BACKBONE", "backbone")


def is_reference(name: str) -> bool:
    """Return whether a name is a reference to a class instead of a registered name."""
    return ":" in name


def trust_backbone(reference: str) -> None:
    """Let this process and its children import a class: the user has named it.

    Raises:
        EdgeAscError: it is not of the form package.module:Class.
    """
    if not REFERENCE.fullmatch(reference):
        raise EdgeAscError(
            f"got backbone {reference!r}; expected package.module:Class, or one of {', '.join(BACKBONES.names())}"
        )
    if reference not in (trusted := _list_trusted()):
        os.environ[TRUSTED_VARIABLE] = ",".join([*trusted, reference])


def load_backbone(name: str) -> Backbone:
    """Return a backbone by its registered name, or by a reference that the user trusts.

    Raises:
        EdgeAscError: no backbone has this name; or the reference is not trusted, cannot be imported, or is not a class
            that derives from `edge_asc.models.layers.BackboneModule`.
    """
    if not is_reference(name):
        return BACKBONES.load(name)
    if name not in _list_trusted() or not REFERENCE.fullmatch(name):
        raise EdgeAscError(
            f"the backbone of this model is the class {name!r}, code outside edge-asc, which a file alone must not "
            f"start; if you trust it, install the package that has it, and set {TRUSTED_VARIABLE}={name}"
        )
    return _describe_class(name, _import_class(name))


def _list_trusted() -> list[str]:
    return [part.strip() for part in os.environ.get(TRUSTED_VARIABLE, "").split(",") if part.strip()]


def _import_class(reference: str) -> object:
    module, _, name = reference.partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise EdgeAscError(
            f"backbone {reference}: there is no module {error.name}; install the package that has it, or name its "
            "folder in PYTHONPATH"
        ) from error
    except AttributeError as error:
        raise EdgeAscError(f"backbone {reference}: {error}; expected a class of that module") from error
    except Exception as error:  # another distribution's module, which may raise anything
        raise EdgeAscError(
            f"backbone {reference}: {module} does not load ({type(error).__name__}: {error}); correct that module"
        ) from error


def _describe_class(reference: str, value: object) -> Backbone:
    from edge_asc.models.layers import BackboneModule

    if not isinstance(value, type) or not issubclass(value, BackboneModule):
        what = f"class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise EdgeAscError(
            f"backbone {reference}: got a {what}; expected a class that derives from "
            "edge_asc.models.layers.BackboneModule"
        )
    parameters = inspect.signature(value).parameters
    options = tuple(option for option in OPTIONS if option in parameters)
    return Backbone(reference, value.__name__, value, options)
