"""Backbones: the convolutional part of a model, chosen by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_asc.contract import FORMS, Form
from edge_asc.registry import Registry

if TYPE_CHECKING:
    from edge_asc.models.layers import BackboneModule


@dataclass(frozen=True)
class Backbone:
    """One backbone.

    Attributes:
        name: unique name, such as "fuse".
        title: name that a user reads, such as "BC-ResNet".
        build: makes the module with fresh weights: build(form, **options), where `form` is one of `forms`. The module
            turns log-mel, (batch, 1, 256, time), into (batch, channels, mels, time / 8).
        options: names of the options that `build` takes, such as "res_norm".
        forms: forms that it can be built in.
    """

    name: str
    title: str
    build: Callable[..., BackboneModule]
    options: tuple[str, ...] = ()
    forms: tuple[Form, ...] = FORMS


BACKBONES: Registry[Backbone] = Registry("edge_asc.backbones", Backbone, "BACKBONE", "backbone")
