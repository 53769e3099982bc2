"""Whether a recipe recalls at least twice as often as another, on the same items."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...evaluation.rows import Row
    from ...studies.study import Number
    from ..found import Found


def longest(found: Found, task: str) -> int:
    """Tokens of the task's longest texts."""
    return max(int(row.tags["length"]) for row in found.rows("dense", task, _recall))


def over_twice(found: Found, recipe: str, against: str, task: str, length: int, depth: float = 1) -> Number:
    """Recall less twice that of `against`, in points, where a text of `length` has its fact at `depth` or before."""
    from ..numbers import change

    own, other = (found.rows(name, task, lambda row: at(row, length, depth)) for name in (recipe, against))
    return change(own, [replace(row, value=2 * row.value) for row in other])


def at(row: Row, length: int, depth: float = 1) -> bool:
    return _recall(row) and row.tags["length"] == length and float(row.tags["depth"]) <= depth


def _recall(row: Row) -> bool:
    return row.metric == "recall"
