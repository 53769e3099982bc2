"""Fractal parameters of time series: how ranges, spreads and small increments grow with the scale they are seen at.

A series x has zero mean and variance one; X is its running sum. Several series are pooled at each scale, and an
exponent is the slope of a straight line through logarithms. White noise has 0.5 in all of them, fractional Gaussian
noise its own H.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Growth:
    """Sums and counts [series, scales] of what is averaged at each scale; the exponent is `power` times the slope of
    the log of their ratio, after that of `expected` was taken away and 0.5 put in its place."""

    scales: Array
    sums: Array
    counts: Array
    power: float = 1.0
    expected: Array | None = None

    def means(self, weights: Array | None = None) -> Array:
        """Average at each scale; weights: how often each series counts."""
        w = np.ones(len(self.sums)) if weights is None else weights
        return np.asarray((w @ self.sums) / (w @ self.counts))

    def exponent(self, weights: Array | None = None) -> float:
        """NaN where a scale has nothing to average."""
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.log(self.means(weights))
        if self.expected is not None:
            values = values - np.log(self.expected)
        if not np.isfinite(values).all():
            return float("nan")
        slope = float(np.polyfit(np.log(self.scales), values, 1)[0])
        return self.power * slope + (0.5 if self.expected is not None else 0.0)

    def interval(self, seed: int = 0, resamples: int = 1000, level: float = 0.95) -> tuple[float | None, float | None]:
        """Percentiles of exponents of series drawn with replacement; (None, None) of a single series."""
        count = len(self.sums)
        if count < 2:
            return None, None
        drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
        found = np.array([self.exponent(w.astype(np.float64)) for w in drawn])
        low, high = np.nanquantile(found, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def of(self, chosen: Sequence[int]) -> Growth:
        """Some of the series."""
        return Growth(self.scales, self.sums[list(chosen)], self.counts[list(chosen)], self.power, self.expected)


def standardised(series: Array) -> Array:
    """Zero mean, variance one. Raises ValueError for a series without variance."""
    spread = float(series.std())
    if not spread > 0:
        raise ValueError("a series that never changes has no fractal parameters")
    return np.asarray((series - series.mean()) / spread)


def rescaled_ranges(series: Array, scale: int) -> Array:
    """R/S of each whole window of `scale` values, one after the other: the range of the running sum of deviations
    from the window's mean, over the window's deviation. Windows that never change are left out."""
    windows = series[: len(series) // scale * scale].reshape(-1, scale)
    centred = windows - windows.mean(axis=1, keepdims=True)
    walked = np.cumsum(centred, axis=1)
    ranges = np.maximum(walked.max(axis=1), 0.0) - np.minimum(walked.min(axis=1), 0.0)
    spread = windows.std(axis=1)
    kept = spread > 0
    return np.asarray(ranges[kept] / spread[kept])


def expected_range(scale: int) -> float:
    """R/S that white noise of this length has on average (Anis and Lloyd 1976): it grows faster than the square root
    of a short length."""
    r = np.arange(1, scale)
    ratio = float(np.exp(gammaln((scale - 1) / 2) - gammaln(scale / 2)))
    return ratio / float(np.sqrt(np.pi)) * float(np.sqrt((scale - r) / r).sum())


def hurst(series: Sequence[Array], scales: Sequence[int], *, corrected: bool = True) -> Growth:
    """H: R/S ~ n^H. corrected: the slope above that of white noise of the same lengths, plus 0.5 (Weron 2002)."""
    found = [[rescaled_ranges(x, n) for n in scales] for x in series]
    expected = np.array([expected_range(n) for n in scales]) if corrected else None
    return Growth(
        np.array(scales, float),
        np.array([[r.sum() for r in rows] for rows in found], float),
        np.array([[len(r) for r in rows] for rows in found], float),
        expected=expected,
    )


def self_similarity(series: Sequence[Array], scales: Sequence[int], epsilon: float) -> Growth:
    """S: P(|X(t+n) - X(t)| <= epsilon) ~ n^-S."""
    steps = [[np.abs(d) <= epsilon for d in _increments(x, scales)] for x in series]
    return _pooled(steps, scales, -1.0)


def joseph(series: Sequence[Array], scales: Sequence[int]) -> Growth:
    """J: the deviation of X(t+n) - X(t) ~ n^J."""
    return _pooled([[d**2 for d in _increments(x, scales)] for x in series], scales, 0.5)


def _increments(series: Array, scales: Sequence[int]) -> list[Array]:
    walked = np.concatenate([[0.0], np.cumsum(series)])
    return [walked[n:] - walked[:-n] for n in scales]


def _pooled(found: Sequence[Sequence[NDArray[np.generic]]], scales: Sequence[int], power: float) -> Growth:
    return Growth(
        np.array(scales, float),
        np.array([[float(v.sum()) for v in rows] for rows in found]),
        np.array([[v.size for v in rows] for rows in found], float),
        power,
    )


def fractional_noise(h: float, length: int, dice: np.random.Generator) -> Array:
    """Gaussian noise whose exponent is h, exactly (Davies and Harte 1987: circulant embedding)."""
    k = np.arange(length + 1.0)
    covariance = 0.5 * ((k + 1) ** (2 * h) - 2 * k ** (2 * h) + np.abs(k - 1) ** (2 * h))
    circle = np.concatenate([covariance, covariance[-2:0:-1]])
    power = np.maximum(np.fft.fft(circle).real, 0.0)
    drawn = dice.standard_normal(len(circle)) + 1j * dice.standard_normal(len(circle))
    return np.asarray(np.fft.fft(np.sqrt(power / len(circle)) * drawn).real[:length])
