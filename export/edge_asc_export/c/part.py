"""A part of a C artefact: what one generator contributes to its header and to its source."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CPart:
    """A part of NAME.h and NAME.c.

    Attributes:
        header: declarations for NAME.h.
        source: definitions for NAME.c.
    """

    header: str
    source: str
