"""Rows of the table that `edge-asc peers` prints: one for each model and form of a result."""

from __future__ import annotations

import math
from dataclasses import dataclass

from msgspec import UnsetType

from edge_asc_bench.latency import Distribution
from edge_asc_bench.result import Result
from edge_asc_bench.wording import describe_variant


@dataclass(frozen=True)
class Row:
    """One model in one form.

    Attributes:
        name: of the model, with the length of a window.
        engine, model: least and median time of a decision, µs: the runtime's own call; the model with Python's part.
        speedup: time of eager PyTorch over this one's, both the least of the runtime's own call; None without eager.
        bytes: size of the model.
        agreement: share of decisions equal to the reference's; None where it was not measured.
    """

    name: str
    engine: tuple[float, float]
    model: tuple[float, float]
    speedup: float | None
    bytes: int
    agreement: float | None


def summarise(result: Result) -> list[Row]:
    """Return the rows of a benchmark's result, in its order."""
    pairs = [(variant, form, latency) for variant in result.variants for form, latency in variant.latency.items()]
    eager = {form: _microseconds(latency.engine)[0] for variant, form, latency in pairs if "eager" in variant.name}
    rows = []
    for variant, form, latency in pairs:
        engine = _microseconds(latency.engine)
        rows.append(
            Row(
                name=variant.name if variant.name.endswith(" s") else describe_variant(variant.name, form),
                engine=engine,
                model=_microseconds(latency.model),
                speedup=eager[form] / engine[0] if form in eager else None,
                bytes=variant.bytes,
                agreement=variant.agreed_share if form == "step" else None,
            )
        )
    return rows


def _microseconds(times: Distribution | UnsetType) -> tuple[float, float]:
    """Return the least and the median time, µs; NaN where none was measured."""
    if isinstance(times, UnsetType):
        return math.nan, math.nan
    return 1000 * times.minimum, 1000 * times.p50
