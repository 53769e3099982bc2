"""Median of a few repeats and an interval that assumes no distribution."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Spread:
    """low and high are order statistics; coverage is the chance that they enclose the true median, below the
    level asked for where there are too few repeats (five give 0.9375)."""

    median: float
    low: float
    high: float
    coverage: float
    n: int

    def as_json(self) -> dict[str, float]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.median:.4g} [{self.low:.4g}, {self.high:.4g}]"


def spread(values: Sequence[float], level: float = 0.95) -> Spread:
    """The narrowest symmetric order-statistic interval that reaches `level`, else smallest to largest.

    The k-th smallest and k-th largest of n enclose the median unless fewer than k values fall on one side of
    it: coverage is 1 - 2 P(Binomial(n, 1/2) < k).
    """
    ordered, n = sorted(values), len(values)
    if not n:
        raise ValueError("no values to take the median of")
    fitting = [k for k in range(1, (n + 1) // 2 + 1) if _coverage(n, k) >= level]
    k = max(fitting, default=1)
    return Spread(statistics.median(ordered), ordered[k - 1], ordered[n - k], _coverage(n, k), n)


def _coverage(n: int, k: int) -> float:
    return max(0.0, 1 - 2 * sum(math.comb(n, i) for i in range(k)) / 2**n)
