"""Comparison -> what the report draws: plain points and lines, without a word of how they look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..results.frontier import frontier
from ..results.types import Comparison, Metric, RecipeResult, Series, TaskInfo
from .text import interval, number, signed, size

# One colour a place where methods act; the numbers beside the marks carry the same meaning without colour.
FAMILIES = {
    "dense": "untouched model",
    "prompt": "prompt",
    "tokens": "tokenizer",
    "weights": "weights",
    "block": "blocks",
    "frequency": "positions",
    "index": "positions",
    "attend": "attention",
    "keep": "kept entries",
    "store": "stored form",
    "decode": "decoding",
    "logits": "logits",
    "mixed": "several places",
}
AXES = ("cache", "weights", "total", "speed")
SPREAD = 4.0  # a wider range than this is drawn on a log axis
SHORTEST = 3  # points of a line worth drawing
OUTLIER = 4.0  # a loss this many times the third quartile is drawn at the edge


def family(recipe: RecipeResult) -> str:
    if recipe.is_dense:
        return "dense"
    places = set(recipe.slots)
    return places.pop() if len(places) == 1 else "mixed"


def legend(comparison: Comparison) -> list[dict[str, str]]:
    """The families that occur, in the order of FAMILIES."""
    present = {family(r) for r in comparison.recipes}
    return [{"family": f, "label": label} for f, label in FAMILIES.items() if f in present]


def trades(comparison: Comparison) -> list[dict[str, Any]]:
    """One choice a ranked quality metric, with its points on every axis of AXES."""
    found = []
    for task in comparison.tasks:
        for name in _ranked(comparison, task):
            charts = {axis: _trade(comparison, task, name, axis) for axis in AXES}
            if any(len(c["points"]) > 1 for c in charts.values()):
                found.append({"task": task.name, "metric": name, "label": label(task.name, name), "axes": charts})
    return found


def label(task: str, metric: str) -> str:
    """'recall: accuracy', but not 'perplexity: perplexity'."""
    return task if task.partition("(")[0] == metric else f"{task}: {metric}"


def _ranked(comparison: Comparison, task: TaskInfo) -> list[str]:
    """Metrics on which recipes can be set against the untouched model."""
    dense = comparison.recipes[0].cell(task.name)
    return [name for name in task.metrics if dense and dense.metric(name)]


def _trade(comparison: Comparison, task: TaskInfo, name: str, axis: str) -> dict[str, Any]:
    points, higher, unit = [], False, ""
    for i, recipe in enumerate(comparison.recipes):
        cell = recipe.cell(task.name)
        metric = cell.metric(name) if cell and cell.state == "done" else None
        x = _place(recipe, axis)
        if metric is None or x is None or cell is None:
            continue
        higher, unit = metric.higher_is_better, metric.delta.unit if metric.delta else unit
        points.append(_point(i, recipe, metric, x) | {"unseen": list(cell.unseen)})
    for i in frontier([(p["x"], p["y"]) for p in points], higher=(axis == "speed", higher)):
        points[i]["frontier"] = True
    limit = worst_drawn([p["y"] for p in points], higher)
    for p in points:
        p["beyond"] = limit is not None and (p["y"] < limit if higher else p["y"] > limit)
    return {"points": points, "higher": higher, "unit": unit, "limit": limit}


def worst_drawn(values: Sequence[float], higher: bool) -> float | None:
    """The value at which the axis ends where a few far outliers would press all other points together."""
    if len(values) < 4:
        return None
    best = max(values) if higher else min(values)
    losses = sorted(abs(v - best) for v in values)
    inner = losses[round(0.75 * (len(losses) - 1))]
    near = [loss for loss in losses if loss <= OUTLIER * inner]
    if inner == 0 or len(near) == len(losses):
        return None
    return best + (-1 if higher else 1) * near[-1] * 1.15


def _place(recipe: RecipeResult, axis: str) -> tuple[float, float | None, float | None, str] | None:
    """Where a recipe stands on the axis: value, interval and words."""
    if axis == "speed":
        if recipe.is_dense:
            return (1.0, None, None, "1.00×")
        if recipe.speed is None:
            return None
        e = recipe.speed.estimate
        return (e.value, e.low, e.high, f"{number(e)} {interval(e)}")
    parts = {"cache": [recipe.kv_bytes], "weights": [recipe.weight_bytes]}
    held = [b.held if b else None for b in parts.get(axis, [recipe.kv_bytes, recipe.weight_bytes])]
    known = [h for h in held if h is not None]
    return (sum(known), None, None, size(sum(known))) if len(known) == len(held) and sum(known) > 0 else None


def _point(
    i: int, recipe: RecipeResult, metric: Metric, x: tuple[float, float | None, float | None, str]
) -> dict[str, Any]:
    """y is the paired difference: its interval says what the recipe did, not how texts differ."""
    e, d = metric.estimate, metric.delta
    return {
        "number": i,
        "name": recipe.typed,
        "family": family(recipe),
        "x": x[0],
        "x_low": x[1],
        "x_high": x[2],
        "x_text": x[3],
        "y": d.value if d else 0.0,
        "y_low": d.low if d else None,
        "y_high": d.high if d else None,
        "y_text": f"{number(e)} {interval(e)}",
        "delta": f"{signed(d)} {interval(d, sign=True)}" if d else "",
        "frontier": False,
    }


def _wide(values: Sequence[float]) -> bool:
    return bool(values) and min(values) > 0 and max(values) > SPREAD * min(values)


def curves(comparison: Comparison) -> list[dict[str, Any]]:
    """One chart a metric that was broken down along one quantity."""
    return [
        {
            "task": task.name,
            "metric": metric,
            "label": label(task.name, metric),
            "x_name": lines[0]["x_name"],
            "trained": comparison.trained_length,
            "log": _wide([v for line in lines for v in line["y"]]),
            "lines": lines,
        }
        for task, metric, found in _broken_down(comparison, flat=True)
        if len((lines := [_line(i, r, s) for i, r, s in found])[0]["x"]) >= SHORTEST
    ]


def places(edges: Sequence[float]) -> list[float]:
    """Where buckets given by their lower edges are drawn on a log axis: in their middle."""
    above = [e for e in edges if e > 0]
    return [e * 2**0.5 if e > 0 else (above[0] / 2 if above else 1.0) for e in edges]


def _line(i: int, recipe: RecipeResult, s: Series) -> dict[str, Any]:
    return {
        "number": i,
        "name": recipe.typed,
        "family": family(recipe),
        "x_name": s.x_name,
        "x": list(s.x),
        "at": places(s.x),
        "y": list(s.value),
        "low": list(s.low),
        "high": list(s.high),
    }


def grids(comparison: Comparison) -> list[dict[str, Any]]:
    """One small multiple a recipe, for a metric that was broken down along two quantities."""
    return [
        {
            "task": task.name,
            "metric": metric,
            "label": label(task.name, metric),
            "x_name": found[0][2].x_name,
            "y_name": found[0][2].y_name,
            "panels": [_panel(i, r, s) for i, r, s in found],
        }
        for task, metric, found in _broken_down(comparison, flat=False)
    ]


def _panel(i: int, recipe: RecipeResult, s: Series) -> dict[str, Any]:
    xs, ys = sorted(set(s.x)), sorted(set(s.y))
    at = {(x, y): (v, n) for x, y, v, n in zip(s.x, s.y, s.value, s.num_items or [0] * len(s.x), strict=True)}
    rows = [{"y": y, "cells": [at.get((x, y)) for x in xs]} for y in ys]
    return {"number": i, "name": recipe.typed, "xs": xs, "rows": rows}


def _broken_down(
    comparison: Comparison, *, flat: bool
) -> list[tuple[TaskInfo, str, list[tuple[int, RecipeResult, Series]]]]:
    """(task, metric, the recipes' series) for every metric that has one of this kind."""
    found: dict[tuple[str, str], list[tuple[int, RecipeResult, Series]]] = {}
    for i, recipe in enumerate(comparison.recipes):
        for cell in recipe.cells:
            for s in cell.series if cell.state == "done" else ():
                if (s.y_name is None) == flat:
                    found.setdefault((cell.task, s.metric), []).append((i, recipe, s))
    return [(comparison.task(task), metric, series) for (task, metric), series in found.items()]
