"""Where tensors live: views of columns in memory, and a plan that lets tensors share the scratch memory of a step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from edge_asc_export.graph import Shape

ALIGNMENT = 16


@dataclass(frozen=True)
class Place:
    """An element in memory: the name of a pointer, and a number of elements behind it."""

    memory: str
    offset: int = 0

    def __add__(self, elements: int) -> Place:
        return replace(self, offset=self.offset + elements)

    def __str__(self) -> str:
        return f"{self.memory} + {self.offset}" if self.offset else self.memory


@dataclass(frozen=True)
class View:
    """A tensor as columns of time, each `mels` rows of `channels` values without gaps.

    Attributes:
        columns: where each column of time begins.
        mels, channels: of a column.
        integer: whether values are int8; else float32.
    """

    columns: tuple[Place, ...]
    mels: int
    channels: int
    integer: bool

    @classmethod
    def whole(cls, memory: str, shape: Shape, *, integer: bool) -> View:
        """Return the view of a tensor of (mel, time, channel) or (row, unit), column after column."""
        mels, times, channels = dimensions(shape)
        columns = tuple(Place(memory, time * mels * channels) for time in range(times))
        return cls(columns, mels, channels, integer)

    @property
    def size(self) -> int:
        """Values of a column."""
        return self.mels * self.channels

    def shifted(self, elements: int, mels: int) -> View:
        """Return `mels` rows of each column, from an element of it."""
        return replace(self, columns=tuple(column + elements for column in self.columns), mels=mels)


def dimensions(shape: Shape) -> tuple[int, int, int]:
    """Return mel rows, columns of time and channels of a shape; the rows of (row, unit) are columns of time."""
    if len(shape) == 2:
        return 1, shape[0], shape[1]
    mel, time, channel = shape
    return mel, time, channel


def join_runs(
    pieces: Sequence[tuple[tuple[Place, ...], int]], sizes: Sequence[int]
) -> list[tuple[tuple[Place, ...], int]]:
    """Join neighbouring pieces of work whose operands follow each other in memory.

    Args:
        pieces: the places of the operands, and a number of items, such as pixels.
        sizes: elements of an item of each operand.
    """
    joined: list[tuple[tuple[Place, ...], int]] = []
    for places, count in pieces:
        if joined:
            before, items = joined[-1]
            if all(place == first + items * size for place, first, size in zip(places, before, sizes, strict=True)):
                joined[-1] = (before, items + count)
                continue
        joined.append((places, count))
    return joined


@dataclass(frozen=True)
class Block:
    """Scratch memory of one tensor, used from the operation `first` to the operation `last`."""

    name: str
    size: int
    first: int
    last: int


def plan_memory(blocks: Iterable[Block]) -> tuple[dict[str, int], int]:
    """Return the offset of each block, bytes, and the size of the memory that all of them share.

    Blocks that are used at the same time do not overlap. The largest are placed first, each as low as possible.
    """
    placed: list[tuple[int, Block]] = []
    for block in sorted(blocks, key=lambda block: (-block.size, block.first, block.name)):
        offset = 0
        others = [(at, each) for at, each in placed if each.first <= block.last and block.first <= each.last]
        for at, each in sorted(others, key=lambda pair: pair[0]):
            if offset + block.size <= at:
                break
            offset = max(offset, _align(at + each.size))
        placed.append((offset, block))
    total = max((at + each.size for at, each in placed), default=0)
    return {each.name: at for at, each in placed}, _align(total)


def _align(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
