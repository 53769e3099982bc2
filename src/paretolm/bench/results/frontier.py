"""The Pareto frontier of two quantities."""

from __future__ import annotations

from collections.abc import Sequence


def frontier(points: Sequence[tuple[float, float]], *, higher: tuple[bool, bool] = (False, False)) -> list[int]:
    """Indices of the points that no other point beats or equals in both and beats in one, by first quantity.

    higher says for each of the two whether more is better."""
    signs = [-1.0 if h else 1.0 for h in higher]
    flat = [(signs[0] * x, signs[1] * y, i) for i, (x, y) in enumerate(points)]
    best, kept, last = float("inf"), [], None
    for x, y, i in sorted(flat):
        if y < best or (x, y) == last:
            kept.append(i)
            best, last = y, (x, y)
    return kept
