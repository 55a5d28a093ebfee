"""The export form: a folded network as a short list of operations, which every format writes.

A tensor of the convolutional part has shape (mel, time, channel), one of the recurrent part (row, unit). Tensors of the
front end are rows, (row, unit), or blocks, (1, row, line, unit). There is no batch axis: an artefact serves one stream.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edge_asc.contract import Role

Array = npt.NDArray[np.float32]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Node:
    """An operation with one output."""

    output: str

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors that the operation reads."""
        raise NotImplementedError


@dataclass(frozen=True)
class Unary(Node):
    """An operation on one tensor."""

    input: str

    @property
    def inputs(self) -> tuple[str, ...]:
        """The one input."""
        return (self.input,)


@dataclass(frozen=True)
class Conv2D(Unary):
    """A convolution with bias; `weight` is (kernel mel, kernel time, inputs, outputs), inputs = 1 if depthwise.

    `padding` is zeros ((mel before, after), (time before, after)).
    """

    weight: Array = field(repr=False)
    bias: Array = field(repr=False)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    depthwise: bool = False
    relu: bool = False


@dataclass(frozen=True)
class Linear(Unary):
    """A fully connected layer on rows; `weight` is (outputs, inputs)."""

    weight: Array = field(repr=False)
    bias: Array = field(repr=False)


@dataclass(frozen=True)
class Concat(Node):
    """Tensors joined along `axis`."""

    parts: tuple[str, ...]
    axis: int

    @property
    def inputs(self) -> tuple[str, ...]:
        """The parts in order."""
        return self.parts


@dataclass(frozen=True)
class Slice(Unary):
    """`size` elements of `axis` from `begin`."""

    axis: int
    begin: int
    size: int


@dataclass(frozen=True)
class Binary(Node):
    """An element-wise operation; axes of size 1 are broadcast."""

    left: str
    right: str

    @property
    def inputs(self) -> tuple[str, ...]:
        """Left and right."""
        return (self.left, self.right)


@dataclass(frozen=True)
class Add(Binary):
    """left + right, with an optional ReLU."""

    relu: bool = False


@dataclass(frozen=True)
class Multiply(Binary):
    """left · right."""


@dataclass(frozen=True)
class Sigmoid(Unary):
    """The logistic function."""


@dataclass(frozen=True)
class Tanh(Unary):
    """The hyperbolic tangent."""


@dataclass(frozen=True)
class MaxPool(Unary):
    """The maximum of 2 × 2 blocks; an odd last row or column is left out."""


@dataclass(frozen=True)
class Fold(Unary):
    """Blocks of `factor` mel rows become channels, row by row; `padding` rows of zeros stand before and after."""

    factor: int
    padding: tuple[int, int]


@dataclass(frozen=True)
class Unfold(Unary):
    """The channels of each row become `factor` rows, one after another, of as many fewer channels."""

    factor: int


@dataclass(frozen=True)
class Reshape(Unary):
    """The same elements in another shape."""

    shape: Shape


@dataclass(frozen=True)
class Product(Unary):
    """Units times a constant matrix, (outputs, inputs), without bias; float32 under every scheme."""

    weight: Array = field(repr=False)


@dataclass(frozen=True)
class View(Unary):
    """The same elements, in their order, as rows or blocks of another shape."""

    shape: Shape


@dataclass(frozen=True)
class Transpose(Unary):
    """Blocks whose lines are units, and the other way round: the last two axes change places."""


@dataclass(frozen=True)
class Columns(Unary):
    """Rows of mel bins, (time, mel), as the columns of one channel, (mel, time, 1)."""


@dataclass(frozen=True)
class Log(Unary):
    """The natural logarithm."""


@dataclass(frozen=True)
class Clip(Unary):
    """The nearest value from `low` to `high`."""

    low: float
    high: float


@dataclass(frozen=True)
class FromInt16(Unary):
    """Integers of 16 bits over 2¹⁵, as float."""


@dataclass(frozen=True)
class GRU(Node):
    """A layer of gated recurrent units over the rows of `input`; one row of `hidden`.

    torch's equations: r, z = σ(W x + b + U h + c), n = tanh(W x + b + r·(U h + c)), h' = (1 − z)·n + z·h.
    The output holds the hidden state after each row. Weights are (3 · units, …), gates in the order r, z, n.
    """

    input: str
    hidden: str
    weight: Array = field(repr=False)
    recurrent: Array = field(repr=False)
    bias: Array = field(repr=False)
    recurrent_bias: Array = field(repr=False)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Input rows and hidden state."""
        return (self.input, self.hidden)

    @property
    def units(self) -> int:
        """Size of the hidden state."""
        return int(self.recurrent.shape[1])


@dataclass(frozen=True)
class Port:
    """A named input or output of a graph.

    Attributes:
        name: in the artefact.
        tensor: in the graph.
        role: as the contract states it.
        feeds: the input state that an output state is fed to.
        int16: whether it holds integers of 16 bits, which stand for [−1, 1).
    """

    name: str
    tensor: str
    role: Role
    feeds: str | None = None
    int16: bool = False


@dataclass(frozen=True)
class Graph:
    """A network in export form.

    Attributes:
        name: of its signature.
        frames: log-mel frames that go in, as features or as the samples that they are of; 0 where none do.
        inputs, outputs: its interface.
        nodes: in an order that computes every tensor before it is read.
        shapes: of all tensors.
        constants: tensors that are no node's output.
    """

    name: str
    frames: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: tuple[Node, ...]
    shapes: dict[str, Shape]
    constants: dict[str, Array] = field(default_factory=dict)

    def consumers(self, tensor: str) -> Iterator[Node]:
        """Return the nodes that read a tensor."""
        return (node for node in self.nodes if tensor in node.inputs)

    def states(self) -> Iterator[tuple[Port, Port]]:
        """Return pairs of an input state and the output state that feeds it."""
        fed = {port.feeds: port for port in self.outputs if port.feeds}
        return ((port, fed[port.name]) for port in self.inputs if port.name in fed)

    def macs(self) -> int:
        """Count the multiply-accumulates of convolutions, linear layers, matrix products and recurrent layers."""
        total = 0
        for node in self.nodes:
            if isinstance(node, Conv2D):
                mel, time, _ = self.shapes[node.output]
                total += mel * time * node.weight.size
            elif isinstance(node, Linear | Product):
                total += math.prod(self.shapes[node.output][:-1]) * node.weight.size
            elif isinstance(node, GRU):
                total += self.shapes[node.output][0] * (node.weight.size + node.recurrent.size)
        return total


def group_tied(tensors: Iterable[str], ties: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    """Group tensors so that those of one tie are together; groups and their members are in the order of `tensors`."""
    from scipy.cluster.hierarchy import DisjointSet  # here, since `inspect` runs without scipy

    tensors = list(tensors)
    sets = DisjointSet(tensors)
    for first, *others in ties:
        for other in others:
            sets.merge(first, other)
    members: dict[str, list[str]] = {}
    for tensor in tensors:
        members.setdefault(sets[tensor], []).append(tensor)
    return [tuple(group) for group in members.values()]


def conv_shape(shape: Shape, node: Conv2D) -> Shape:
    """Return the output shape of a convolution of a (mel, time, channel) tensor."""
    sizes = []
    for axis in (0, 1):
        padded = shape[axis] + sum(node.padding[axis])
        sizes.append((padded - node.weight.shape[axis]) // node.stride[axis] + 1)
    return (*sizes, shape[2] if node.depthwise else node.weight.shape[3])


def output_shape(node: Node, shapes: dict[str, Shape]) -> Shape:
    """Return the shape of a node's output, from the shapes of its inputs."""
    first = shapes[node.inputs[0]]
    match node:
        case Conv2D():
            return conv_shape(first, node)
        case Linear() | Product():
            return (*first[:-1], len(node.weight))
        case Concat():
            size = sum(shapes[part][node.axis] for part in node.parts)
            return (*first[: node.axis], size, *first[node.axis + 1 :])
        case Slice():
            return (*first[: node.axis], node.size, *first[node.axis + 1 :])
        case Binary():
            return tuple(int(s) for s in np.broadcast_shapes(first, shapes[node.right]))
        case MaxPool():
            return (first[0] // 2, first[1] // 2, first[2])
        case Fold():
            return ((first[0] + sum(node.padding)) // node.factor, first[1], first[2] * node.factor)
        case Unfold():
            return (first[0] * node.factor, first[1], first[2] // node.factor)
        case Reshape() | View():
            return node.shape
        case Transpose():
            return (*first[:-2], first[-1], first[-2])
        case Columns():
            return (first[1], first[0], 1)
        case GRU():
            return (first[0], node.units)
        case _:
            return first
