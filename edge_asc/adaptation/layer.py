"""The output layer of an artefact: in float, and in the integers that an int8 file computes with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edge_asc.contract import StreamContract
from edge_asc.frontend import Array
from edge_asc.quantisation import HIGH, LOW, QuantisedWeight, asymmetric, quantise, quantise_weight
from edge_asc.tensors import Affine


@dataclass(frozen=True, eq=False)
class OutputLayer:
    """A linear layer on one embedding.

    Attributes:
        weight: (classes, width).
        bias: (classes,).
    """

    weight: Array
    bias: Array

    def __call__(self, embeddings: Array) -> Array:
        """Return the logits, (n, classes), of embeddings, (n, width)."""
        logits: Array = embeddings @ self.weight.T + self.bias
        return logits


@dataclass(frozen=True, eq=False)
class IntegerLayer:
    """The same layer in int8.

    Attributes:
        weight: integers, one scale a class, and the bias.
        source, output: quantisation parameters of the embedding and of the logits, int8.
    """

    weight: QuantisedWeight
    source: Affine
    output: Affine

    def __call__(self, embeddings: Array) -> Array:
        """Return the logits, (n, classes), that the integers give for embeddings, (n, width)."""
        integers = quantise(embeddings, self.source).astype(np.float64) - self.source.zero_point
        sums = integers @ self.weight.values.astype(np.float64).T + self.weight.bias
        exact = sums * self.weight.bias_scales(self.source)
        rounded = np.clip(np.rint(exact / self.output.scale) + self.output.zero_point, LOW, HIGH)
        logits: Array = ((rounded - self.output.zero_point) * self.output.scale).astype(np.float32)
        return logits


def quantise_layer(layer: OutputLayer, source: Affine, low: float, high: float) -> IntegerLayer:
    """Return a layer in int8.

    Args:
        layer: in float.
        source: quantisation parameters of the embedding.
        low, high: range of the logits; what is beyond it saturates.
    """
    weight = quantise_weight(layer.weight, layer.bias, 0, source)
    return IntegerLayer(weight, source, asymmetric(low, high))


@dataclass(frozen=True)
class Site:
    """The output layer that a file has.

    Attributes:
        classes: number of logits.
        width: of the embedding.
        source: quantisation parameters of the embedding, int8; None where the layer computes in float.
    """

    classes: int
    width: int
    source: Affine | None


class Editor(Protocol):
    """A file in one format whose output layer can be replaced."""

    site: Site

    def replace(self, layer: OutputLayer | IntegerLayer, contract: StreamContract) -> bytes:
        """Return the file with another output layer, which fits the site, and another contract, sealed."""
        ...


def pass_through(site: Site) -> OutputLayer | IntegerLayer:
    """Return the layer whose logits are the embedding itself: exact, in float and in int8."""
    layer = OutputLayer(np.eye(site.width, dtype=np.float32), np.zeros(site.width, np.float32))
    if site.source is None:
        return layer
    return IntegerLayer(quantise_weight(layer.weight, layer.bias, 0, site.source), site.source, site.source)
