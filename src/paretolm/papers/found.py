"""What a bench experiment found: rows of the store, and numbers drawn from them as the judge draws them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..bench.records.relay import opened
from ..bench.records.store import Scored
from ..bench.results.types import CellResult, Comparison
from ..errors import CellError
from ..evaluation.rows import Row
from ..studies.study import Number
from .numbers import change, exact, median, of_rows

DENSE = "dense"
Where = Callable[[Row], bool]


@dataclass(frozen=True)
class Found:
    """One comparison and its store. Recipes and tasks are named as the experiment names them; where a comparison has
    one task, it need not be named. Every reader raises CellError where a cell failed or a recipe did nothing."""

    comparison: Comparison
    recipes: tuple[str, ...]
    tasks: tuple[str, ...]

    def cell(self, recipe: str, task: str = "") -> CellResult:
        line = task or self._only_task()
        found = self._results[recipe][line]
        if found.state != "done":
            raise CellError(f"{recipe} on {line}: {found.state}{', ' if found.reason else ''}{found.reason}")
        return found

    def items(self, recipe: str, task: str = "") -> list[Scored]:
        """All items with rows, counters and bytes."""
        with opened(Path(self.comparison.store)) as store:
            return store.items(self.cell(recipe, task).key)

    def rows(self, recipe: str, task: str = "", where: Where = lambda _: True) -> list[Row]:
        return [row for one in self.items(recipe, task) for row in one.rows if where(row)]

    def mean(self, metric: str, recipe: str = DENSE, task: str = "", where: Where = lambda _: True) -> Number:
        """In the units people read: perplexity for nll, percent for shares."""
        return of_rows(self._of(metric, recipe, task, where), self._seed)

    def change(
        self, metric: str, recipe: str, against: str = DENSE, task: str = "", where: Where = lambda _: True
    ) -> Number:
        """recipe minus `against` on the same items; percent of it for perplexities, points for shares."""
        own, base = (self._of(metric, name, task, where) for name in (recipe, against))
        return change(own, base, self._seed)

    def held(self, recipe: str, against: str = DENSE, task: str = "") -> Number:
        """Bytes of the cache after the longest prompt, in percent of those of `against` there."""
        bytes_ = [self._longest(name, task)["kv_bytes"] for name in (recipe, against)]
        return exact(100 * bytes_[0] / bytes_[1], "%")

    def weights(self, recipe: str, against: str = DENSE, task: str = "") -> Number:
        """Bytes of the weights, in percent of those of `against`."""
        bytes_ = [self._longest(name, task)["weight_bytes"] for name in (recipe, against)]
        return exact(100 * bytes_[0] / bytes_[1], "%")

    def counted(self, recipe: str, method: str, counter: str, task: str = "") -> dict[str, float]:
        """Item -> what a method counted there."""
        return {one.item: one.facts["counters"][method][counter] for one in self.items(recipe, task)}

    def speed(self, recipe: str, name: str = "decode_speed_ratio", task: str = "speed") -> Number:
        """Median ratio to the untouched model over the repeats of the task `speed`."""
        return median([row.value for row in self._of(name, recipe, task, lambda _: True)])

    @cached_property
    def keys(self) -> list[str]:
        """Of all cells, in order."""
        return [c.key for cells in self._results.values() for c in cells.values() if c.key]

    @cached_property
    def _results(self) -> dict[str, dict[str, CellResult]]:
        """Recipe and task as the experiment names them -> result."""
        found = {}
        for name in (DENSE, *self.recipes):
            cells = self.comparison.recipe(" ".join(name.split())).cells
            found[name] = dict(zip(self.tasks, cells, strict=True))
        return found

    def _only_task(self) -> str:
        assert len(self.tasks) == 1, "say which task"
        return self.tasks[0]

    def _longest(self, recipe: str, task: str) -> Mapping[str, Any]:
        """Facts of the item of the longest prompt."""
        known = [one for one in self.items(recipe, task) if "kv_bytes" in one.facts]
        if not known:
            raise CellError(f"{recipe} on {task or self._only_task()}: no bytes were counted")
        return max(known, key=lambda one: (one.facts["prompt"], one.item)).facts

    def _of(self, metric: str, recipe: str, task: str, where: Where) -> list[Row]:
        rows = self.rows(recipe, task, lambda row: row.metric == metric and where(row))
        if not rows:
            raise CellError(f"{recipe} on {task or self._only_task()}: no {metric} was measured")
        return rows

    @property
    def _seed(self) -> int:
        return int(self.comparison.conditions["seed"])
