"""The few sentences a reader wants first, from the numbers alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..report.text import signed
from .types import Comparison, Metric, RecipeResult

TOLERANCE = 1.0  # percent, or points, that a reader may call the same quality


@dataclass(frozen=True)
class Finding:
    value: str
    what: str
    recipe: str


def findings(comparison: Comparison) -> list[Finding]:
    """At most four: least cache, least weights, most speed within the tolerance, and the largest loss."""
    dense, others = comparison.recipes[0], [r for r in comparison.recipes[1:] if r.ranked]
    losses = {r.line: _losses(r) for r in others}
    near = [r for r in others if losses[r.line] and max(losses[r.line], key=_first)[0] <= TOLERANCE]
    found = [
        _least(near, dense, lambda r: r.kv_bytes.held if r.kv_bytes else None, "of the cache"),
        _least(near, dense, lambda r: r.weight_bytes.held if r.weight_bytes else None, "of the weights"),
        _fastest(near),
        _largest_loss({r.typed: losses[r.line] for r in others}),
    ]
    return [f for f in found if f]


def _losses(recipe: RecipeResult) -> list[tuple[float, Metric]]:
    """How much worse on each task that saw the recipe, by its first metric in percent or points."""
    found = []
    for cell in recipe.cells:
        scaled = [m for m in cell.metrics if m.delta and m.delta.unit in ("%", "points")]
        if cell.state == "done" and scaled and (delta := scaled[0].delta):
            found.append((-delta.value if scaled[0].higher_is_better else delta.value, scaled[0]))
    return found


def _least(
    near: list[RecipeResult], dense: RecipeResult, held: Callable[[RecipeResult], float | None], what: str
) -> Finding | None:
    whole = held(dense)
    sizes = [(size, r) for r in near if (size := held(r)) is not None and whole and size < 0.99 * whole]
    if not sizes or not whole:
        return None
    size, recipe = min(sizes, key=lambda pair: pair[0])
    return Finding(
        f"{100 * size / whole:.0f}% {what}",
        f"the least within {TOLERANCE:g}% of untouched quality on every task where it acts:",
        recipe.typed,
    )


def _fastest(near: list[RecipeResult]) -> Finding | None:
    faster = [r for r in near if r.speed and r.speed.estimate.low is not None and r.speed.estimate.low > 1]
    if not faster:
        return None
    best = max(faster, key=lambda r: r.speed.estimate.value if r.speed else 0.0)
    assert best.speed is not None
    return Finding(
        f"{best.speed.estimate.value:.2f}× the speed",
        f"the fastest within {TOLERANCE:g}% of untouched quality on every task where it acts:",
        best.typed,
    )


def _largest_loss(losses: Mapping[str, list[tuple[float, Metric]]]) -> Finding | None:
    """By ratio to the tolerance, percent and points alike."""
    worst = [(*max(mine, key=_first), name) for name, mine in losses.items() if mine]
    if not worst or (largest := max(worst, key=_first))[0] <= TOLERANCE:
        return None
    _, metric, name = largest
    assert metric.delta is not None
    return Finding(f"{signed(metric.delta)} {metric.name}", "the largest loss here:", name)


def _first(pair: Sequence[Any]) -> float:
    return float(pair[0])
