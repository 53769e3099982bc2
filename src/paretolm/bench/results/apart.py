"""Pairs of recipes that perplexity calls alike and another task tells apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from ...evaluation.rows import Row
from .gather import Measured
from .types import Apart, Metric, RecipeResult, TaskInfo

LIKE = 5.0  # percent of perplexity
FAR = 10.0  # points


def apart(
    recipes: Sequence[RecipeResult],
    tasks: Sequence[TaskInfo],
    perplexity: str,
    measured: Mapping[tuple[str, str], Measured],
    seed: int,
) -> list[Apart]:
    """Every pair within LIKE percent of perplexity that is FAR points or more apart on a task of shares, the widest
    first. perplexity: the task whose first metric is; measured: (recipe as typed, task) -> its finished cell."""
    found = []
    for one, other in pairs_alike(recipes, perplexity):
        for task in tasks:
            rows = {r.typed: m.rows for r in (one, other) if (m := measured.get((r.typed, task.name)))}
            if task.name != perplexity and len(rows) == 2 and _gap(one, other, task) >= FAR:
                found.append(_pair(one, other, task, perplexity, rows, seed))
    return sorted(found, key=lambda pair: -abs(pair.difference.value))


def pairs_alike(recipes: Sequence[RecipeResult], perplexity: str) -> list[tuple[RecipeResult, RecipeResult]]:
    """Pairs of recipes that acted there and lie within LIKE percent of each other."""
    known = [r for r in recipes if _value(r, perplexity) is not None]
    return [
        (a, b)
        for a, b in combinations(known, 2)
        if max(_at(a, perplexity), _at(b, perplexity)) <= (1 + LIKE / 100) * min(_at(a, perplexity), _at(b, perplexity))
    ]


def _pair(
    one: RecipeResult,
    other: RecipeResult,
    task: TaskInfo,
    perplexity: str,
    rows: Mapping[str, Sequence[Row]],
    seed: int,
) -> Apart:
    from ...evaluation.summary import summarise
    from .estimates import metric_of

    better, worse = sorted((one, other), key=lambda r: -_at(r, task.name))
    shown = task.metrics[0]
    compared = [metric_of(s) for s in summarise(rows, better.typed, seed=seed) if s.recipe == worse.typed]
    difference = next(m.delta for m in compared if m.name == shown)
    assert difference is not None
    return Apart(
        better.typed,
        worse.typed,
        (_at(better, perplexity), _at(worse, perplexity)),
        task.name,
        task.group,
        (_at(better, task.name), _at(worse, task.name)),
        difference,
    )


def _gap(one: RecipeResult, other: RecipeResult, task: TaskInfo) -> float:
    """Points between two recipes by the task's first metric; 0 where that is no share, or one did not act."""
    metrics = [m for r in (one, other) if (m := _metric(r, task.name))]
    if len(metrics) < 2 or any(m.estimate.unit != "%" for m in metrics):
        return 0.0
    return abs(metrics[0].estimate.value - metrics[1].estimate.value)


def _value(recipe: RecipeResult, task: str) -> float | None:
    metric = _metric(recipe, task)
    return metric.estimate.value if metric else None


def _metric(recipe: RecipeResult, task: str) -> Metric | None:
    """The first metric of a recipe that acted on the task."""
    cell = recipe.cell(task)
    return cell.metrics[0] if cell and cell.state == "done" and cell.metrics else None


def _at(recipe: RecipeResult, task: str) -> float:
    found = _value(recipe, task)
    assert found is not None
    return found
