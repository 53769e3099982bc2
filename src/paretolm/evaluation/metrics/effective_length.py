"""How long a text may be before a model fails on it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def effective_length(lengths: Sequence[float], scores: Sequence[float], threshold: float) -> float:
    """The length up to which scores hold the threshold, on straight lines between the lengths measured.

    0 where the shortest already fails; the longest where none does, and then the true one may be longer. What lies
    beyond the first failure does not count."""
    points = sorted(zip(lengths, scores, strict=True))
    if points[0][1] < threshold:
        return 0.0
    for (length, score), (longer, worse) in pairwise(points):
        if worse < threshold:
            return float(length + (longer - length) * (score - threshold) / (score - worse))
    return float(points[-1][0])
