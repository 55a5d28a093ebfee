"""Ranges of integer tensors, chosen from histograms of the values that they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from edge_asc_export.plan import SharedRange

# Methods that choose each range from the values alone, and all methods.
PlainMethod = Literal["mse", "percentile", "weighted", "minmax"]
Method = Literal[PlainMethod, "divergence"]
PLAIN_METHODS: tuple[PlainMethod, ...] = get_args(PlainMethod)
METHODS: tuple[Method, ...] = (*PLAIN_METHODS, "divergence")

BINS = 2048
PERCENTILE = 0.99999
# The share of the plain squared error beside the one that is weighted by sensitivity. Some of it has to be there: where
# a model is certain, its outputs are sensitive to nothing, yet clipping large values would change them.
PLAIN_SHARE = 1 / 6

Histogram = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Values:
    """The values of the tensors that share one range, counted in `BINS` equal bins of it.

    Attributes:
        counts: number of values; all zero where the range is fixed.
        weighted: the same, each value counted as often as the square of the sensitivity to its error.
    """

    counts: Histogram
    weighted: Histogram


def choose_ranges(
    method: PlainMethod, spans: Sequence[SharedRange], values: Sequence[Values]
) -> tuple[SharedRange, ...]:
    """Return a range within each span.

    "minmax" keeps the span. "percentile" leaves out one value in 100,000 on either side. The others have the least
    squared error of rounding inside and clipping outside: "mse" with the same weight for every value, "weighted" mostly
    with the squared sensitivity of the outputs as the weight.
    """
    if method == "minmax":
        return tuple(spans)
    ranges = []
    for span, each in zip(spans, values, strict=True):
        if not span.fixed and each.counts.any():
            if method == "percentile":
                low, high = _percentile(each.counts, span.low, span.high)
            else:
                weights = each.counts if method == "mse" else _mix(each)
                low, high = _least_squares(weights, span.low, span.high)
            span = replace(span, low=low, high=high)
        ranges.append(span)
    return tuple(ranges)


def _mix(values: Values) -> Histogram:
    """Return the weight of a squared error in each bin."""
    if not values.weighted.any():
        return values.counts
    shares: Histogram = PLAIN_SHARE * values.counts / values.counts.sum()
    shares += (1.0 - PLAIN_SHARE) * values.weighted / values.weighted.sum()
    return shares


def _percentile(counts: Histogram, low: float, high: float) -> tuple[float, float]:
    share = np.cumsum(counts) / counts.sum()
    edges = np.linspace(low, high, len(counts) + 1)
    first, last = (int(np.searchsorted(share, at)) for at in (1.0 - PERCENTILE, PERCENTILE))
    return min(0.0, float(edges[first])), max(0.0, float(edges[min(last + 1, len(counts))]))


def _least_squares(weights: Histogram, low: float, high: float) -> tuple[float, float]:
    """Return the range with the least squared error of rounding inside and clipping outside."""
    middle = low + (np.arange(len(weights)) + 0.5) * (high - low) / len(weights)
    shares = np.linspace(1.0, 0.2, 41)
    best = (np.inf, low, high)
    for bottom in low * shares if low < 0.0 else [0.0]:
        below = np.maximum(bottom - middle, 0.0)
        for top in high * shares if high > 0.0 else [0.0]:
            outside = below + np.maximum(middle - top, 0.0)
            rounding = ((top - bottom) / 255.0) ** 2 / 12.0
            error = float(weights @ np.where(outside > 0.0, outside**2, rounding))
            if error < best[0]:
                best = (error, float(bottom), float(top))
    return best[1], best[2]
