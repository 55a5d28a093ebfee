"""Times of decisions: their distribution, and whether they can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

# After pyperf's check of a benchmark: spread and outliers against the mean, and enough values for the percentiles.
LARGEST_SPREAD = 0.10
LARGEST_OUTLIER = 0.50
FEWEST = 200


@dataclass(frozen=True)
class Latency:
    """A distribution of times, ms.

    Attributes:
        count: values.
        p50, p90, p99, maximum, minimum, mean, deviation: ms; `deviation` is the standard deviation.
    """

    count: int
    p50: float
    p90: float
    p99: float
    maximum: float
    minimum: float
    mean: float
    deviation: float

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
        return {k: v if isinstance(v, int) else float(f"{v:.5g}") for k, v in asdict(self).items()}
