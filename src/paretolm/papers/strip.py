"""A number beside its limit as a small drawing: the side that was asked for, the interval, the estimate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WIDTH, _HEIGHT, _EDGE = 220.0, 18.0, 6.0


def strip(number: Mapping[str, Any], limit: Mapping[str, Any]) -> dict[str, float] | None:
    """Places in a drawing of 220 by 18: asked (x, width), interval (x, width), estimate, bound. None without an
    interval."""
    low, high, value = number["low"], number["high"], number["value"]
    if low is None or high is None:
        return None
    at_most = "at_most" in limit
    bound = limit["at_most"] if at_most else limit["at_least"]
    ends = [low, high, value, bound, limit["expected"]]
    least, most = min(ends), max(ends)
    span = (most - least) or max(abs(most), 1.0)
    least, most = least - 0.12 * span, most + 0.12 * span

    def place(x: float) -> float:
        return _EDGE + (_WIDTH - 2 * _EDGE) * (x - least) / (most - least)

    start, end = (0.0, place(bound)) if at_most else (place(bound), _WIDTH)
    found = {
        "asked": start,
        "asked_width": end - start,
        "low": place(low),
        "width": max(2.0, place(high) - place(low)),
        "value": place(value),
        "bound": place(bound),
    }
    return {name: round(x, 1) for name, x in found.items()}
