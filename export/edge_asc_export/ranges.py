"""Ranges of integer tensors, chosen from histograms of the values that they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from edge_asc_export.plan import SharedRange

Method = Literal["minmax", "percentile", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)

BINS = 2048
PERCENTILE = 0.99999

Histogram = npt.NDArray[np.float64]


def choose_ranges(
    method: Method, spans: Sequence[SharedRange], histograms: Sequence[Histogram]
) -> tuple[SharedRange, ...]:
    """Return a range within each span.

    "minmax" keeps the span, "percentile" leaves out one value in 100,000 on either side, and "mse" has the least
    squared error of rounding inside and clipping outside.

    Args:
        method: one of METHODS.
        spans: of all values.
        histograms: of the values, in `BINS` equal bins of each span; all zero where it is fixed. Empty for "minmax".
    """
    if method == "minmax":
        return tuple(spans)
    narrow = _percentile if method == "percentile" else _least_squares
    ranges = []
    for span, counts in zip(spans, histograms, strict=True):
        if not span.fixed and counts.any():
            low, high = narrow(counts, span.low, span.high)
            span = replace(span, low=low, high=high)
        ranges.append(span)
    return tuple(ranges)


def _percentile(counts: Histogram, low: float, high: float) -> tuple[float, float]:
    share = np.cumsum(counts) / counts.sum()
    edges = np.linspace(low, high, len(counts) + 1)
    first, last = (int(np.searchsorted(share, at)) for at in (1.0 - PERCENTILE, PERCENTILE))
    return min(0.0, float(edges[first])), max(0.0, float(edges[min(last + 1, len(counts))]))


def _least_squares(counts: Histogram, low: float, high: float) -> tuple[float, float]:
    """Return the range with the least squared error of rounding inside and clipping outside."""
    middle = low + (np.arange(len(counts)) + 0.5) * (high - low) / len(counts)
    shares = np.linspace(1.0, 0.2, 41)
    best = (np.inf, low, high)
    for bottom in low * shares if low < 0.0 else [0.0]:
        below = np.maximum(bottom - middle, 0.0)
        for top in high * shares if high > 0.0 else [0.0]:
            outside = below + np.maximum(middle - top, 0.0)
            rounding = ((top - bottom) / 255.0) ** 2 / 12.0
            error = float(counts @ np.where(outside > 0.0, outside**2, rounding))
            if error < best[0]:
                best = (error, float(bottom), float(top))
    return best[1], best[2]
