"""What a difference between two recipes is worth: paired, weighted, clustered by document. Loads no torch.

Every estimate is a ratio of sums over documents, sum(w x) / sum(w), and its standard error is the linearised
one, sqrt(G/(G-1) sum(e^2)) / sum(w) with e = sum_doc(w x) - estimate * sum_doc(w). With one item of weight 1
a document this is the paired t-test's.

Intervals: bootstrap-t over documents (Efron and Tibshirani 1993, ch. 12.5), for it keeps its level on skewed
scores; Student's t with G-1 degrees below 8 documents, and where so few documents differ that a resample may
hold none of them; Bonett and Price (2012) for 0/1 scores of one item a document. p-values: sign flips of whole
documents, all of them up to 2^14; exact McNemar (a binomial test) for 0/1 scores of one item a document.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
Bounds = tuple[float | None, float | None]

FEW_CLUSTERS = 20
LEVEL = 0.95
POWER = 0.8
RESAMPLES = 4000
_SMALLEST_BOOTSTRAP = 8
_EXACT_FLIPS = 14
_BLOCK = 1 << 22  # numbers of resampling weights in memory at a time


@dataclass(frozen=True)
class Clusters:
    """Sums over each document: of weight * value, and of weight."""

    sums: Array
    weights: Array
    singletons: bool  # one item of weight 1 a document

    @property
    def count(self) -> int:
        return len(self.sums)

    @property
    def mean(self) -> float:
        return float(self.sums.sum() / self.weights.sum())

    @property
    def residuals(self) -> Array:
        residuals: Array = self.sums - self.mean * self.weights
        scale = np.abs(self.sums).max(initial=0.0) + np.abs(self.mean * self.weights).max(initial=0.0)
        residuals[np.abs(residuals) <= 1e-13 * scale] = 0.0  # rounding is not variance
        return residuals

    @property
    def standard_error(self) -> float | None:
        """None with a single document."""
        if self.count < 2:
            return None
        spread = float(np.square(self.residuals).sum()) * self.count / (self.count - 1)
        return float(np.sqrt(spread) / self.weights.sum())


def clustered(values: Sequence[float], weights: Sequence[float], documents: Sequence[str]) -> Clusters:
    """Items summed up by document, in order of first appearance."""
    names = list(dict.fromkeys(documents))
    place = {name: i for i, name in enumerate(names)}
    index = np.array([place[d] for d in documents], dtype=np.intp)
    w, x = np.asarray(weights, dtype=np.float64), np.asarray(values, dtype=np.float64)
    single = len(names) == len(index) and bool(np.all(w == 1.0))
    sums = np.bincount(index, w * x, len(names)).astype(np.float64)
    return Clusters(sums, np.bincount(index, w, len(names)).astype(np.float64), single)


def interval(clusters: Clusters, seed: int = 0, level: float = LEVEL, resamples: int = RESAMPLES) -> Bounds:
    """Of the weighted mean. (None, None) with a single document; a point where documents do not differ."""
    error = clusters.standard_error
    if error is None:
        return None, None
    mean = clusters.mean
    if error == 0:
        return mean, mean
    tail = (1 - level) / 2
    t = _bootstrap_t(clusters, seed, resamples) if clusters.count >= _SMALLEST_BOOTSTRAP else None
    if t is None or np.mean(~np.isfinite(t)) > tail / 5:
        reach = float(stats.t.ppf(1 - tail, clusters.count - 1)) * error
        return mean - reach, mean + reach
    low, high = np.quantile(t[np.isfinite(t)], [tail, 1 - tail])
    return mean - float(high) * error, mean - float(low) * error


def _bootstrap_t(clusters: Clusters, seed: int, resamples: int) -> Array:
    """(estimate* - estimate) / error* of each resample; infinite where error* vanishes."""
    rng = np.random.default_rng(seed)
    count, residuals, weights = clusters.count, clusters.residuals, clusters.weights
    columns = np.stack([residuals, weights, residuals**2, residuals * weights, weights**2], axis=1)
    even = np.full(count, 1 / count)
    found = []
    for size in _blocks(resamples, count):
        e, w, ee, ew, ww = (rng.multinomial(count, even, size) @ columns).T
        shift = e / w
        spread = (ee - 2 * shift * ew + shift**2 * ww) * count / (count - 1)
        flat = spread <= 1e-12 * columns[:, 2].sum()
        error = np.sqrt(np.where(flat, 1.0, spread)) / w
        found.append(np.where(flat, np.inf, shift / error))
    return np.concatenate(found)


def _blocks(total: int, width: int) -> Iterator[int]:
    step = max(1, _BLOCK // width)
    for start in range(0, total, step):
        yield min(step, total - start)


def sign_flip(clusters: Clusters, seed: int = 0, flips: int = 9999) -> float:
    """Two-sided p that the sum of differences is so far from 0 if each document's sign were a coin's."""
    sums = clusters.sums[clusters.sums != 0]
    observed = abs(float(sums.sum()))
    near = observed - 1e-9 * float(np.abs(sums).sum())
    if len(sums) <= _EXACT_FLIPS:
        bits = (np.arange(1 << len(sums))[:, None] >> np.arange(len(sums))) & 1
        return float(np.mean(np.abs((1 - 2 * bits) @ sums) >= near))
    rng = np.random.default_rng(seed)
    hits = 0
    for size in _blocks(flips, len(sums)):
        signs = 1 - 2 * rng.integers(0, 2, (size, len(sums)), dtype=np.int8)
        hits += int(np.sum(np.abs(signs @ sums) >= near))
    return (1 + hits) / (1 + flips)


def mcnemar(lost: int, won: int) -> float:
    """Exact two-sided p of `lost` against `won` discordant pairs."""
    return float(stats.binomtest(lost, lost + won).pvalue) if lost + won else 1.0


def paired_binary_interval(lost: int, won: int, pairs: int, level: float = LEVEL) -> tuple[float, float]:
    """Of the difference of two shares from the same pairs: Wald's with one discordant pair added to each side
    (Bonett and Price 2012), so that no discordant pair at all does not look like certainty."""
    up, down = (won + 1) / (pairs + 2), (lost + 1) / (pairs + 2)
    reach = float(stats.norm.ppf((1 + level) / 2)) * float(np.sqrt((up + down - (up - down) ** 2) / (pairs + 2)))
    return max(-1.0, up - down - reach), min(1.0, up - down + reach)


def share_interval(clusters: Clusters, level: float = LEVEL) -> tuple[float, float]:
    """Of one share: exact (Clopper and Pearson 1934) for one item a document, else with as many items as would
    give the observed error if they were independent (Korn and Graubard 1998); with no spread, one a document."""
    share, error, size = clusters.mean, clusters.standard_error, float(clusters.count)
    if not clusters.singletons and error:
        size = min(float(clusters.weights.sum()), share * (1 - share) / error**2)
    tail, hits = (1 - level) / 2, share * size
    low = 0.0 if share <= 0 else float(stats.beta.ppf(tail, hits, size - hits + 1))
    high = 1.0 if share >= 1 else float(stats.beta.ppf(1 - tail, hits + 1, size - hits))
    return low, high


def holm(pvalues: Sequence[float]) -> list[float]:
    """p-values of one family of comparisons, adjusted step down (Holm 1979)."""
    order = sorted(range(len(pvalues)), key=lambda i: pvalues[i])
    adjusted = [0.0] * len(pvalues)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, pvalues[i] * (len(pvalues) - rank)))
        adjusted[i] = highest
    return adjusted


def smallest_effect(clusters: Clusters, level: float = LEVEL, power: float = POWER) -> float | None:
    """The difference that would have been found with this power at the observed error; None where the
    documents do not differ, so that no error was observed."""
    error = clusters.standard_error
    if not error:
        return None
    degrees = clusters.count - 1
    return float(stats.t.ppf((1 + level) / 2, degrees) + stats.t.ppf(power, degrees)) * error
