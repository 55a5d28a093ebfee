"""How a layer brings its own export form: a method `lower`, given the operations that every format can write.

A backbone made of layers that the export knows needs nothing. A layer of its own kind has

    def lower(self, builder: LayerBuilder, name: str, x: str) -> str:
        gate = builder.sigmoid(f"{name}_gate", x)
        return builder.multiply(name, x, gate)

which emits the operations of its forward pass at inference and returns the tensor that holds the result. Tensors are
named; those that a layer adds start with `name`, and its result is called `name`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
NO_PADDING = ((0, 0), (0, 0))


class LayerBuilder(Protocol):
    """The operations that a layer can be exported as. Shapes are (mel, time, channel), without a batch axis.

    Each operation takes the name of its result first and returns it.
    """

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Return a tensor's shape."""

    def constant(self, name: str, value: Array) -> str:
        """Add a constant; axes of size 1 are broadcast where it is read."""

    def convolve(
        self,
        name: str,
        x: str,
        weight: Array,
        bias: Array,
        *,
        stride: tuple[int, int] = (1, 1),
        padding: tuple[tuple[int, int], tuple[int, int]] = NO_PADDING,
    ) -> str:
        """Convolve; `weight` is (kernel mel, kernel time, inputs, outputs), 1 input of several channels: depthwise.

        `padding` is zeros ((mel before, after), (time before, after)), `stride` is (mel, time).
        """

    def add(self, name: str, left: str, right: str) -> str:
        """Add two tensors."""

    def multiply(self, name: str, left: str, right: str) -> str:
        """Multiply two tensors."""

    def sigmoid(self, name: str, x: str) -> str:
        """Apply the logistic function."""

    def tanh(self, name: str, x: str) -> str:
        """Apply the hyperbolic tangent."""

    def max_pool(self, name: str, x: str) -> str:
        """Take the maximum of 2 × 2 blocks of mel and time."""

    def concat(self, name: str, parts: Sequence[str], axis: int) -> str:
        """Join tensors along an axis: 0 mel, 1 time, 2 channel."""

    def slice(self, name: str, x: str, axis: int, begin: int, size: int) -> str:
        """Take `size` elements of an axis from `begin`."""


@runtime_checkable
class Lowerable(Protocol):
    """A layer with an export form of its own."""

    def lower(self, builder: LayerBuilder, name: str, x: str) -> str:
        """Emit the layer's operations on tensor `x`; return the name of the result."""
