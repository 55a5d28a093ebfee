"""Times of decisions: their distribution, and whether they can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

# After pyperf's check of a benchmark: spread and outliers against the mean, and enough values for the percentiles.
LARGEST_SPREAD = 0.10
LARGEST_OUTLIER = 0.50
FEWEST = 200
# Percentiles of a distribution that are kept, to draw it.
PERCENTILES = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100)
# A processor's frequency may differ by this much from its highest while times are taken.
LARGEST_SLOWDOWN = 0.15


@dataclass(frozen=True)
class Distribution:
    """A distribution of times, ms.

    Attributes:
        count: values.
        p50, p90, p99, maximum, minimum, mean, deviation: ms; `deviation` is the standard deviation.
        percentiles: the values at `PERCENTILES`, ms, by the percentile's number.
    """

    count: int
    p50: float
    p90: float
    p99: float
    maximum: float
    minimum: float
    mean: float
    deviation: float
    percentiles: dict[str, float]

    @classmethod
    def of(cls, nanoseconds: Sequence[int]) -> Self:
        """Return the distribution of some times, ns; at least one."""
        times = np.asarray(nanoseconds, np.float64) / 1e6
        p50, p90, p99 = (float(v) for v in np.percentile(times, (50, 90, 99)))
        shares = zip(PERCENTILES, np.percentile(times, PERCENTILES), strict=True)
        return cls(
            len(times),
            p50,
            p90,
            p99,
            float(times.max()),
            float(times.min()),
            float(times.mean()),
            float(times.std()),
            {f"{percent}": float(value) for percent, value in shares},
        )

    def doubts(self) -> list[str]:
        """Return the reasons why the times cannot be trusted; empty if they can."""
        doubts = []
        if self.count < FEWEST:
            doubts.append(f"{self.count} values are few for percentiles, expected {FEWEST}")
        if self.deviation > LARGEST_SPREAD * self.mean:
            doubts.append(f"the standard deviation is {100 * self.deviation / self.mean:.0f} % of the mean")
        if self.p99 > (1.0 + LARGEST_OUTLIER) * self.p50:
            doubts.append(f"the 99th percentile is {self.p99 / self.p50:.1f} times the median")
        return doubts

    def round(self) -> Self:
        """Return the same distribution with every time to five digits."""
        return type(self)(
            self.count,
            round_to_digits(self.p50),
            round_to_digits(self.p90),
            round_to_digits(self.p99),
            round_to_digits(self.maximum),
            round_to_digits(self.minimum),
            round_to_digits(self.mean),
            round_to_digits(self.deviation),
            {percent: round_to_digits(value) for percent, value in self.percentiles.items()},
        )


class Moment(Protocol):
    """The part of a sample of conditions that `disturbances` reads."""

    @property
    def phase(self) -> str:
        """Of the measurement."""
        ...

    @property
    def frequency_mhz(self) -> tuple[float, ...] | None:
        """Of each core."""
        ...

    @property
    def throttling(self) -> tuple[str, ...] | None:
        """Flags that the firmware reports."""
        ...


def disturbances(conditions: Sequence[Moment]) -> list[str]:
    """Return what disturbed the machine while times were taken, in words; empty if nothing did."""
    timed = [sample for sample in conditions if sample.phase in ("latency", "after latency")]
    disturbed = []
    flags = {flag for sample in timed for flag in sample.throttling or () if not flag.endswith("since boot")}
    if flags:
        disturbed.append(f"the firmware reported: {', '.join(sorted(flags))}")
    fastest = [max(sample.frequency_mhz) for sample in timed if sample.frequency_mhz]
    if fastest and min(fastest) < (1 - LARGEST_SLOWDOWN) * max(fastest):
        disturbed.append(f"the processor ran at {min(fastest):.0f} to {max(fastest):.0f} MHz")
    return disturbed


def round_to_digits(value: float) -> float:
    """Return a value to five digits."""
    return float(f"{value:.5g}")
