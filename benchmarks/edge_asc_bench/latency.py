"""Times of decisions: their distribution, and whether they can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

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
class Latency:
    """A distribution of times, ms.

    Attributes:
        count: values.
        p50, p90, p99, maximum, minimum, mean, deviation: ms; `deviation` is the standard deviation.
        percentiles: the values at `PERCENTILES`, ms.
    """

    count: int
    p50: float
    p90: float
    p99: float
    maximum: float
    minimum: float
    mean: float
    deviation: float
    percentiles: tuple[float, ...]

    @classmethod
    def of(cls, nanoseconds: Sequence[int]) -> Latency:
        """The distribution of some times, ns; at least one."""
        times = np.asarray(nanoseconds, np.float64) / 1e6
        p50, p90, p99 = (float(v) for v in np.percentile(times, (50, 90, 99)))
        return cls(
            len(times),
            p50,
            p90,
            p99,
            float(times.max()),
            float(times.min()),
            float(times.mean()),
            float(times.std()),
            tuple(map(float, np.percentile(times, PERCENTILES))),
        )

    def doubts(self) -> list[str]:
        """Why the times cannot be trusted; empty if they can."""
        found = []
        if self.count < FEWEST:
            found.append(f"{self.count} values are few for percentiles, expected {FEWEST}")
        if self.deviation > LARGEST_SPREAD * self.mean:
            found.append(f"the standard deviation is {100 * self.deviation / self.mean:.0f} % of the mean")
        if self.p99 > (1.0 + LARGEST_OUTLIER) * self.p50:
            found.append(f"the 99th percentile is {self.p99 / self.p50:.1f} times the median")
        return found

    def to_json(self) -> dict[str, Any]:
        """A JSON object, ms to five digits."""
        found = {k: v if isinstance(v, int) else short(v) for k, v in asdict(self).items() if k != "percentiles"}
        return {**found, "percentiles": {f"{p}": short(v) for p, v in zip(PERCENTILES, self.percentiles, strict=True)}}


def disturbances(conditions: Sequence[Mapping[str, Any]]) -> list[str]:
    """What disturbed the machine while times were taken, from its conditions then; empty if nothing did."""
    timed = [sample for sample in conditions if sample["phase"] in ("latency", "after latency")]
    found = []
    flags = {flag for sample in timed for flag in sample["throttling"] or () if not flag.endswith("since boot")}
    if flags:
        found.append(f"the firmware reported: {', '.join(sorted(flags))}")
    fastest = [max(sample["frequency_mhz"]) for sample in timed if sample["frequency_mhz"]]
    if fastest and min(fastest) < (1 - LARGEST_SLOWDOWN) * max(fastest):
        found.append(f"the processor ran at {min(fastest):.0f} to {max(fastest):.0f} MHz")
    return found


def short(value: float) -> float:
    """A value to five digits."""
    return float(f"{value:.5g}")
