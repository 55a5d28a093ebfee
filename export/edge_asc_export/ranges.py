"""Ranges of integer tensors, chosen from histograms of the values that they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edge_asc_export.plan import SharedRange

Method = Literal["minmax", "percentile", "mse", "fisher"]
METHODS: tuple[Method, ...] = get_args(Method)

BINS = 2048
PERCENTILE = 0.99999
# The shares of a span's side that a range may have, for the least squared error.
SHARES = np.linspace(1.0, 0.1, 46)
# How much more than its square the error of a clipped value counts under "fisher". All clipped values err to one side,
# so that their errors add up; and recordings that are not known yet have more of them.
CLIPPING = 3.0

Histogram = npt.NDArray[np.float64]


class Histograms:
    """Counts of values in `BINS` equal bins of each span.

    Attributes:
        counts: a histogram for each span; all zero where the span is fixed.
    """

    def __init__(self, spans: Sequence[SharedRange]) -> None:
        self.counts = [np.zeros(BINS) for _ in spans]
        self._places = {
            tensor: (i, (span.low, span.high))
            for i, span in enumerate(spans)
            for tensor in span.tensors
            if not span.fixed and span.high > span.low
        }

    def add(self, tensor: str, values: Tensor, weights: Tensor | None = None) -> None:
        """Count values, each as often as its weight says; nothing is counted of a tensor without a range."""
        if place := self._places.get(tensor):
            index, span = place
            weight = None if weights is None else weights.flatten().double()
            # In double precision, since the counts have that of the values.
            self.counts[index] += torch.histogram(
                values.flatten().double(), BINS, range=span, weight=weight
            ).hist.numpy()


def choose_ranges(
    method: Method, spans: Sequence[SharedRange], histograms: Sequence[Histogram]
) -> tuple[SharedRange, ...]:
    """Return a range within each span.

    "minmax" keeps the span, "percentile" leaves out one value in 100,000 on either side, and "mse" has the least
    squared error of rounding inside and clipping outside. "fisher" has the same with histograms that count a value by
    how much its error changes the probabilities, and with clipping counted `CLIPPING` times.

    Args:
        method: one of METHODS.
        spans: of all values.
        histograms: of the values, in `BINS` equal bins of each span; all zero where it is fixed. Empty for "minmax".
    """
    if method == "minmax":
        return tuple(spans)
    clipping = CLIPPING if method == "fisher" else 1.0
    ranges = []
    for span, counts in zip(spans, histograms, strict=True):
        if counts.any():
            ends = (counts, span.low, span.high)
            low, high = _percentile(*ends) if method == "percentile" else _least_squares(*ends, clipping)
            span = replace(span, low=low, high=high)
        ranges.append(span)
    return tuple(ranges)


def _percentile(counts: Histogram, low: float, high: float) -> tuple[float, float]:
    share = np.cumsum(counts) / counts.sum()
    edges = np.linspace(low, high, len(counts) + 1)
    first, last = (int(np.searchsorted(share, at)) for at in (1.0 - PERCENTILE, PERCENTILE))
    return min(0.0, float(edges[first])), max(0.0, float(edges[min(last + 1, len(counts))]))


def _least_squares(counts: Histogram, low: float, high: float, clipping: float) -> tuple[float, float]:
    """Return the range with the least squared error of rounding inside and, times `clipping`, clipping outside."""
    middle = low + (np.arange(len(counts)) + 0.5) * (high - low) / len(counts)
    bottoms, tops = (side * SHARES if side else np.zeros(1) for side in (low, high))
    below, above = np.maximum(bottoms[:, None] - middle, 0.0), np.maximum(middle - tops[:, None], 0.0)
    outside = (below**2 @ counts)[:, None] + above**2 @ counts
    inside = counts.sum() - ((below > 0.0) @ counts)[:, None] - (above > 0.0) @ counts
    rounding = ((tops - bottoms[:, None]) / 255.0) ** 2 / 12.0
    errors = clipping * outside + inside * rounding
    best = np.unravel_index(errors.argmin(), errors.shape)
    return float(bottoms[best[0]]), float(tops[best[1]])
