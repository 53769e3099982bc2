"""MAUVE: how alike two sets of texts are, as histograms over clusters of their features (Pillutla et al. 2021).

The set is the unit: one text has no MAUVE.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.cluster.vq import kmeans2, vq

SCALE = 5.0  # the constant c of the paper
_POINTS = 25  # mixtures on the frontier
_EDGE = 1e-6
_VARIANCE = 0.9  # of the features that the clusters see
_TRIES = 5  # of k-means; the one with the nearest centres is kept
_ROUNDS = 100


def kl(p: np.ndarray, q: np.ndarray) -> float:
    """KL(p || q) in nats of two histograms [k]; infinite where q has nothing and p has."""
    seen = p > 0
    if bool((q[seen] == 0).any()):
        return float("inf")
    return float((p[seen] * np.log(p[seen] / q[seen])).sum())


def frontier(p: np.ndarray, q: np.ndarray, scale: float = SCALE) -> np.ndarray:
    """exp(-scale KL) of q and of p to their mixtures, with both ends [27, 2] (equation 2 of the paper)."""
    points = [(1.0, 0.0)]
    for share in np.linspace(_EDGE, 1 - _EDGE, _POINTS):
        mixture = share * p + (1 - share) * q
        points.append((float(np.exp(-scale * kl(q, mixture))), float(np.exp(-scale * kl(p, mixture)))))
    return np.array([*points, (0.0, 1.0)])


def mauve(p: np.ndarray, q: np.ndarray, scale: float = SCALE) -> float:
    """Area under the frontier of two histograms [k], 0 to 1; 1 where they are equal. Of its two readings, along
    either axis, the mean is taken."""
    found = frontier(p / p.sum(), q / q.sum(), scale)
    return float(np.mean([_area(found[:, 0], found[:, 1]), _area(found[:, 1], found[:, 0])]))


def _area(x: np.ndarray, y: np.ndarray) -> float:
    """By trapezoids; a frontier falls, so that of points at one x the higher comes first."""
    order = np.lexsort((-y, x))
    return float((np.diff(x[order]) * (y[order][1:] + y[order][:-1])).sum() / 2)


def reduced(features: np.ndarray) -> np.ndarray:
    """Rows [n, d] at length 1, as the fewest principal components that hold 90% of their variance."""
    rows = features.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / np.where(lengths > 0, lengths, 1.0)
    u, s, _ = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    total = float((s**2).sum())
    kept = 1 if not total else int(np.searchsorted(np.cumsum(s**2) / total, _VARIANCE)) + 1
    found: np.ndarray = u[:, :kept] * s[:kept]
    return found


def clusters(features: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """The cluster of each row [n], 0 to count - 1, by k-means on the reduced features of all sets together."""
    rows = reduced(features)
    count = min(count, len(np.unique(rows.round(9), axis=0)))
    best, nearest = np.zeros(len(rows), dtype=np.int64), float("inf")
    for attempt in range(_TRIES):
        rng = np.random.default_rng([seed, attempt])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a cluster that stays empty
            centres, _ = kmeans2(rows, count, iter=_ROUNDS, minit="++", seed=rng)
        labels, away = vq(rows, centres)
        if float((away**2).sum()) < nearest:
            best, nearest = labels.astype(np.int64), float((away**2).sum())
    return best


def usual_count(sizes: int) -> int:
    """A tenth of the smaller set's size, 2 at least."""
    return max(2, round(sizes / 10))


def histogram(labels: np.ndarray, count: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Shares of clusters [count]."""
    found = np.bincount(labels, weights, minlength=count).astype(np.float64)
    return found / found.sum()
