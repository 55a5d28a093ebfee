"""The operations of an artefact, counted: what computes in integers, what in float, and what the engine delegates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple

Arithmetic = Literal["integer", "float"]


class Operation(NamedTuple):
    """One operation of a file: its name in the format, and the arithmetic of its result."""

    name: str
    arithmetic: Arithmetic


@dataclass(frozen=True)
class Inspection:
    """The operations of an artefact.

    Attributes:
        operations: by signature: the number of operations of each kind.
        arithmetic: by signature: the number of operations that compute in float and in integers.
        float_operations: by signature: the kinds that compute in float beside integer ones.
        partitions: the number of parts that a delegate takes of the first signature; None where that is unknown.
        outside: the number of operations that the delegate does not take.
        arena: memory of tensors on a microcontroller, bytes (`edge_asc.engines.tflm`); None where that is unknown.
    """

    operations: dict[str, dict[str, int]]
    arithmetic: dict[str, dict[Arithmetic, int]]
    float_operations: dict[str, list[str]]
    partitions: int | None = None
    outside: int | None = None
    arena: int | None = None

    def to_json(self) -> dict[str, object]:
        """Return a JSON object."""
        return asdict(self)


def summarise(
    signatures: Mapping[str, Sequence[Operation]],
    moves: Collection[str],
    partitions: int | None = None,
    outside: int | None = None,
) -> Inspection:
    """Count the operations of each signature; `moves` are those that only move, convert or name values."""
    counts: dict[str, dict[str, int]] = {}
    arithmetic: dict[str, dict[Arithmetic, int]] = {}
    in_float: dict[str, list[str]] = {}
    for name, operations in signatures.items():
        counts[name] = dict(Counter(each.name for each in operations).most_common())
        computed = [each for each in operations if each.name not in moves]
        kinds = Counter(each.arithmetic for each in computed)
        arithmetic[name] = {"integer": kinds["integer"], "float": kinds["float"]}
        mixed = kinds["integer"] > 0
        in_float[name] = sorted({each.name for each in computed if each.arithmetic == "float"}) if mixed else []
    return Inspection(counts, arithmetic, in_float, partitions, outside)
