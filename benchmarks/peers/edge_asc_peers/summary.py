"""A summary of a result: one row for each model and form, as the table of `edge-asc peers` shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_asc_bench.result import agreement, titled


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


def summarise(result: Mapping[str, Any]) -> list[Row]:
    """Return the rows of a benchmark's result, in its order."""
    pairs = [(variant, form) for variant in result["variants"] for form in variant["latency"]]
    eager = {form: _microseconds(variant, form, "engine")[0] for variant, form in pairs if "eager" in variant["name"]}
    rows = []
    for variant, form in pairs:
        name, engine = variant["name"], _microseconds(variant, form, "engine")
        rows.append(
            Row(
                name=name if name.endswith(" s") else titled(name, form),
                engine=engine,
                model=_microseconds(variant, form, "model"),
                speedup=eager[form] / engine[0] if form in eager else None,
                bytes=variant["bytes"],
                agreement=agreement(variant) if form == "step" else None,
            )
        )
    return rows


def _microseconds(variant: Mapping[str, Any], form: str, part: str) -> tuple[float, float]:
    times = variant["latency"][form][part]
    return 1000 * float(times["minimum"]), 1000 * float(times["p50"])
