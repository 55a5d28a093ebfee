"""A part of a C artefact: what one generator contributes to its header and to its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CPart:
    """A part of NAME.h and NAME.c.

    Attributes:
        header: declarations for NAME.h.
        source: definitions for NAME.c.
        scratch: floats of the array `scratch` that its functions use, each from its call to its return.
    """

    header: str
    source: str
    scratch: int = 0


def join_sources(parts: Sequence[CPart]) -> str:
    """Return the definitions of all parts, with the memory that they share."""
    size = max(part.scratch for part in parts)
    shared = f"/* Memory of one function after the other, for all streams. */\nstatic float scratch[{size}];\n"
    return "\n".join([*([shared] if size else []), *(part.source for part in parts)])
