"""Pearson's correlation with an interval from items drawn with replacement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000


@dataclass(frozen=True)
class Correlation:
    """None where one of the two never changes; low, high: 95%."""

    value: float | None
    low: float | None
    high: float | None
    n: int


def correlation(x: Sequence[float], y: Sequence[float], seed: int = 0) -> Correlation:
    """Between pairs; y may be 0 and 1. Percentiles of resamples in which both change."""
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    size = len(a)
    value = _pearson(np.ones((1, size)), a, b)[0] if size else np.nan
    if not np.isfinite(value):
        return Correlation(None, None, None, size)
    drawn = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), RESAMPLES).astype(np.float64)
    found = _pearson(drawn, a, b)
    low, high = np.quantile(found[np.isfinite(found)], [0.025, 0.975])
    return Correlation(float(value), float(low), float(high), size)


def _pearson(weights: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of each row of weights [resamples, n]."""
    total = weights.sum(axis=1)
    mean_a, mean_b = weights @ a / total, weights @ b / total
    shared = weights @ (a * b) / total - mean_a * mean_b
    spread = (weights @ a**2 / total - mean_a**2) * (weights @ b**2 / total - mean_b**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 1e-12, shared / np.sqrt(np.maximum(spread, 0)), np.nan)
