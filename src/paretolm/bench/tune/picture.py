"""The frontier as a picture: SVG that needs no script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..report.charts import worst_drawn
from ..report.text import size
from .halving import axis_of
from .limits import Limit
from .outcome import bare, unit
from .predict import loss
from .table import bytes_of, quality_words
from .types import Point, Tuned

WIDTH, HEIGHT = 860, 420
LEFT, RIGHT, TOP, BOTTOM = 84, 24, 16, 54
TICKS = 6


@dataclass(frozen=True)
class Scale:
    """Where a value lies between two ends of the drawing, by its logarithm or as it is."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    def at(self, value: float) -> float:
        a, b, v = (math.log(max(x, 1e-12)) if self.log else x for x in (self.low, self.high, value))
        return round(self.start + (self.end - self.start) * (v - a) / ((b - a) or 1), 1)


def picture(found: Tuned) -> dict[str, Any]:
    """Everything the template draws: points, the line through the frontier, limits and ticks in pixels."""
    quality, axis = found.watched[0], axis_of(found.asked)
    drawn = [p for p in found.points if quality.name in p.scores]
    held = [p.foreseen.most(axis) for p in drawn]
    values = [p.scores[quality.name].value for p in drawn]
    higher = bool(quality.measure and quality.measure.higher)
    edge = worst_drawn(values, higher)
    inside = [v for v in values if edge is None or (v > edge if higher else v < edge)]
    limits = _limits(found, quality, axis)
    xs = _ends([*held, *([limits["x"]] if limits["x"] else [])], log=True)
    ys = _ends([*inside, *([limits["y"]] if limits["y"] is not None else [])], log=False)
    across = Scale(*xs, LEFT, WIDTH - RIGHT, log=True)
    up = Scale(*ys, *((HEIGHT - BOTTOM, TOP)), log=False)
    at = [_point(found, p, across, up, axis, quality) for p in drawn]
    on = sorted(((a["x"], a["y"]) for a, p in zip(at, drawn, strict=True) if p.on_frontier), key=lambda xy: xy[0])
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "points": sorted(at, key=lambda one: one["rank"]),
        "front": " ".join(f"{x},{y}" for x, y in on),
        "limit_x": across.at(limits["x"]) if limits["x"] else None,
        "limit_y": up.at(limits["y"]) if limits["y"] is not None else None,
        "limit_words": limits["words"],
        "x_ticks": [(across.at(v), size(v)) for v in _log_ticks(*xs)],
        "y_ticks": [(up.at(v), bare(quality, v)) for v in _ticks(*ys)],
        "x_name": "cache held" if axis == "kv" else "weights and cache held",
        "y_name": quality.measure.help if quality.measure else quality.name,
        "y_unit": unit(quality),
        "better": "higher is better" if higher else "lower is better",
        "box": (LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM),
    }


def _limits(found: Tuned, quality: Limit, axis: str) -> dict[str, Any]:
    """Where the drawn limits lie, None where there are none, and their words."""
    held = found.asked.named(axis)
    x = None if held is None else held.bound * (found.dense.bytes(axis)[0] if held.form == "share" else 1)
    y = quality.bound if math.isfinite(quality.bound) else None
    words = {"x": held.text if held else "", "y": quality.text if y is not None else ""}
    return {"x": x, "y": y, "words": words}


def _point(found: Tuned, p: Point, across: Scale, up: Scale, axis: str, quality: Limit) -> dict[str, Any]:
    e = p.scores[quality.name]
    best = found.best is not None and p.line == found.best.line
    kind = "best" if best else "dense" if p.line == found.dense.line else "front" if p.on_frontier else p.stage
    y = min(max(up.at(e.value), TOP), HEIGHT - BOTTOM)
    spread = None if e.low is None or e.high is None or p.stage != "ranked" else (_in(up.at(e.low)), _in(up.at(e.high)))
    words = [p.line, bytes_of(found, p), *quality_words(found, p), f"{p.items} items, {p.stage}"]
    return {
        "x": across.at(p.foreseen.most(axis)),
        "y": y,
        "spread": spread,
        "kind": kind,
        "words": "\n".join(words),
        "rank": (kind == "best", kind in ("front", "dense"), -loss(quality, e.value)),
    }


def _in(y: float) -> float:
    return min(max(y, TOP), HEIGHT - BOTTOM)


def _ends(values: Sequence[float], log: bool) -> tuple[float, float]:
    """With a margin on both sides."""
    low, high = min(values), max(values)
    if log:
        return low / 1.15, high * 1.15
    room = 0.08 * ((high - low) or abs(high) or 1.0)
    return low - room, high + room


def _ticks(low: float, high: float) -> list[float]:
    """Round values between the ends."""
    step = 10 ** math.floor(math.log10((high - low) / TICKS))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (m * step) <= TICKS)
    first = math.ceil(low / step)
    return [n * step for n in range(first, math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of two between the ends, and what lies half way between them where there are few."""
    powers = [2.0**e for e in range(math.floor(math.log2(low)), math.ceil(math.log2(high)) + 1)]
    halves = [1.5 * p for p in powers] if len(powers) <= TICKS else []
    found = [v for v in sorted([*powers, *halves]) if low <= v <= high]
    return found[:: max(1, math.ceil(len(found) / (2 * TICKS)))]
