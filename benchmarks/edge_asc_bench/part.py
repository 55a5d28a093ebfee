"""Parts of a result, and the ranges of their fields."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0)]
Size = Annotated[int, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
NotNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Counts = dict[str, Count]


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a result; an unknown field is an error."""
