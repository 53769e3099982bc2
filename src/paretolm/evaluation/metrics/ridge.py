"""Ridge regression whose penalty is chosen by leaving one out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
PENALTIES = tuple(np.logspace(-2, 6, 33).tolist())


@dataclass(frozen=True)
class Ridge:
    """y = mean + weights . (x - centre) / spread."""

    centre: Array
    spread: Array
    weights: Array
    mean: float
    penalty: float

    def __call__(self, x: Array) -> Array:
        """Features [n, d] -> [n]."""
        return np.asarray(self.mean + (x - self.centre) / self.spread @ self.weights)


def ridge(x: Array, y: Array) -> Ridge:
    """Features [n, d] and what they should tell [n], with the penalty of the least squared error of each example
    under the fit to all others (in closed form; Golub, Heath and Wahba 1979). Features that never change count for
    nothing."""
    centre, spread = x.mean(axis=0), x.std(axis=0)
    spread = np.where(spread > 1e-12, spread, np.inf)
    u, s, v = np.linalg.svd((x - centre) / spread, full_matrices=False)
    mean = float(y.mean())
    along = u.T @ (y - mean)

    def left_out(penalty: float) -> float:
        shrunk = s**2 / (s**2 + penalty)
        leverage = (u**2) @ shrunk + 1 / len(y)
        return float(np.square((y - mean - u @ (shrunk * along)) / (1 - leverage)).mean())

    best = min(PENALTIES, key=left_out)
    return Ridge(centre, spread, v.T @ (s / (s**2 + best) * along), mean, best)
