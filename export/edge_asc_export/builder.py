"""Builds a graph node by node; also what a layer's own lowering is given (edge_asc/models/lowering.py)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from edge_asc.errors import ExportError
from edge_asc_export.graph import (
    GRU,
    Add,
    Array,
    Concat,
    Conv2D,
    Graph,
    MaxPool,
    Multiply,
    Node,
    Port,
    Shape,
    Sigmoid,
    Slice,
    Tanh,
    output_shape,
)

Padding = tuple[tuple[int, int], tuple[int, int]]
NO_PADDING: Padding = ((0, 0), (0, 0))


class Builder:
    """Collects nodes, shapes and constants, and the caches that a stream carries.

    The last node of a tensor can be replaced while nothing has read it. Follows
    `edge_asc.models.lowering.LayerBuilder`.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.shapes: dict[str, Shape] = {}
        self.constants: dict[str, Array] = {}
        self.caches: list[tuple[str, str]] = []

    @classmethod
    def on_inputs_of(cls, graph: Graph) -> Builder:
        """Return a builder that knows a graph's inputs and constants, and none of its nodes."""
        builder = cls()
        builder.shapes.update({port.tensor: graph.shapes[port.tensor] for port in graph.inputs})
        builder.constants.update(graph.constants)
        builder.shapes.update({name: value.shape for name, value in graph.constants.items()})
        return builder

    def emit(self, node: Node) -> str:
        """Append a node; return the name of its output.

        Raises:
            ExportError: another node has written this tensor.
        """
        if node.output in self.nodes:
            raise ExportError(f"two tensors are called {node.output!r}; rename a layer of the model")
        self.nodes[node.output] = node
        self.shapes[node.output] = output_shape(node, self.shapes)
        return node.output

    def overwrite(self, node: Node) -> str:
        """Replace the node that writes a tensor by another of the same shape."""
        self.nodes[node.output] = node
        return node.output

    def remove(self, tensor: str) -> Node:
        """Take back the node that writes a tensor."""
        del self.shapes[tensor]
        return self.nodes.pop(tensor)

    def graph(self, name: str, frames: int, inputs: Iterable[Port], outputs: Iterable[Port]) -> Graph:
        """Return what was built."""
        nodes = tuple(self.nodes.values())
        return Graph(name, frames, tuple(inputs), tuple(outputs), nodes, self.shapes, self.constants)

    def extend_by_cache(self, name: str, x: str, cache: str, columns: int) -> str:
        """Put the cached columns before those of `x`, and keep the last ones for the next step."""
        mels, _, channels = self.shapes[x]
        self.shapes[cache] = (mels, columns, channels)
        x = self.emit(Concat(f"{name}_extended", (cache, x), axis=1))
        begin = self.shapes[x][1] - columns
        kept = self.emit(Slice(f"{cache}_next", x, axis=1, begin=begin, size=columns))
        self.caches.append((cache, kept))
        return x

    def shape(self, tensor: str) -> Shape:
        """Return a tensor's shape: (mel, time, channel)."""
        return self.shapes[tensor]

    def constant(self, name: str, value: Array) -> str:
        """Add a constant, (mel or 1, time or 1, channel or 1)."""
        self.constants[name] = np.asarray(value, np.float32)
        self.shapes[name] = self.constants[name].shape
        return name

    def convolve(
        self,
        name: str,
        x: str,
        weight: Array,
        bias: Array,
        *,
        stride: tuple[int, int] = (1, 1),
        padding: Padding = NO_PADDING,
    ) -> str:
        """Convolve; `weight` is (kernel mel, kernel time, inputs, outputs), 1 input of several channels: depthwise."""
        depthwise = weight.shape[2] == 1 and self.shapes[x][2] == weight.shape[3] > 1
        return self.emit(Conv2D(name, x, weight, bias, stride, padding, depthwise))

    def add(self, name: str, left: str, right: str) -> str:
        """Add two tensors; axes of size 1 are broadcast."""
        return self.emit(Add(name, left, right))

    def multiply(self, name: str, left: str, right: str) -> str:
        """Multiply two tensors; axes of size 1 are broadcast."""
        return self.emit(Multiply(name, left, right))

    def sigmoid(self, name: str, x: str) -> str:
        """Apply the logistic function."""
        return self.emit(Sigmoid(name, x))

    def tanh(self, name: str, x: str) -> str:
        """Apply the hyperbolic tangent."""
        return self.emit(Tanh(name, x))

    def max_pool(self, name: str, x: str) -> str:
        """Take the maximum of 2 × 2 blocks."""
        return self.emit(MaxPool(name, x))

    def concat(self, name: str, parts: Sequence[str], axis: int) -> str:
        """Join tensors along an axis: 0 mel, 1 time, 2 channel."""
        return self.emit(Concat(name, tuple(parts), axis))

    def slice(self, name: str, x: str, axis: int, begin: int, size: int) -> str:
        """Take `size` elements of an axis from `begin`."""
        return self.emit(Slice(name, x, axis, begin, size))

    def scale_output(self, conv: Conv2D, scale: Array, shift: Array) -> str:
        """Fold a scale and a shift of each channel into the convolution that wrote a tensor."""
        return self.overwrite(replace(conv, weight=conv.weight * scale, bias=conv.bias * scale + shift))


def attach_gru(window: Graph, gru: Graph) -> Graph:
    """Join a window and the GRU of its model: the logits after each embedding, and the last hidden states."""
    builder = Builder()
    builder.nodes.update({node.output: node for node in window.nodes})
    builder.shapes.update(window.shapes)
    builder.constants.update(window.constants)
    hidden = [port for port in gru.inputs if port.role == "state"]
    builder.shapes.update({port.tensor: gru.shapes[port.tensor] for port in hidden})
    last: dict[str, str] = {}
    for node in gru.nodes:
        builder.emit(node)
        if isinstance(node, GRU) and (rows := builder.shapes[node.output][0]) > 1:
            last[node.output] = builder.emit(Slice(f"{node.hidden}_last", node.output, axis=0, begin=rows - 1, size=1))
    outputs = [
        replace(port, tensor=last.get(port.tensor, port.tensor)) if port.role == "state" else port
        for port in gru.outputs
    ]
    return builder.graph(window.name, window.frames, [*window.inputs, *hidden], outputs)
