"""Recipes that did nothing because no item of a task is long enough for them to act on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..plan import DENSE
from .gather import Measured
from .trust import NOISE, largest_change
from .types import CellResult


def excused(
    measured: Mapping[str, Measured],
    results: Mapping[str, CellResult],
    recipes: Mapping[str, Mapping[str, Any]],
    task: Mapping[str, Any],
) -> dict[str, CellResult]:
    """Recipe -> its result on one task; one that did nothing, as its cost foretold, says so and is `short`.

    recipes, task: their facts. All of it must agree: every method was opened and counted nothing, the rows are the
    untouched model's, and nothing is predicted to change up to the longest item. A recipe that was to act and did not
    keeps its reason."""
    dense = measured.get(DENSE)
    return {
        name: _excused(result, measured[name], dense, recipes[name], task["tokens"])
        if dense and result.state == "did not act"
        else result
        for name, result in results.items()
    }


def _excused(result: CellResult, m: Measured, dense: Measured, recipe: Mapping[str, Any], tokens: int) -> CellResult:
    """tokens: the most that the cache sees in one item."""
    opened = {name.partition("#")[0] for name in m.counters}
    acted = {name.partition("#")[0] for name in m.counters if name not in m.idle}
    seen = [name for name in recipe["methods"] if name not in m.cell.unseen]
    least = min((recipe["acts_from"].get(name, 0) for name in seen), default=0)
    changed = largest_change(m.rows, dense.rows) or 0.0
    if not set(seen) <= opened - acted or tokens >= least or changed > NOISE:
        return result
    told = f"prompts shorter than {least:,} tokens, answers included ({tokens:,} at most)"
    return replace(result, reason=f"did not act here: {told}, where {' and '.join(seen)} changes nothing", short=True)
