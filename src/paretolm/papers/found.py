"""What a bench experiment found: rows of the store, and numbers drawn from them as the judge draws them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..bench.records.store import Scored, Store
from ..bench.results.estimates import metric_of
from ..bench.results.gather import speed_metric
from ..bench.results.types import CellResult, Comparison, Estimate
from ..errors import CellError
from ..evaluation.rows import Row
from ..evaluation.summary import summarise
from ..studies.study import Number
from .numbers import exact, note

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
        with Store(Path(self.comparison.store)) as store:
            return store.items(self.cell(recipe, task).key)

    def rows(self, recipe: str, task: str = "", where: Where = lambda _: True) -> list[Row]:
        return [row for one in self.items(recipe, task) for row in one.rows if where(row)]

    def mean(self, metric: str, recipe: str = DENSE, task: str = "", where: Where = lambda _: True) -> Number:
        """In the units people read: perplexity for nll, percent for shares."""
        (found,) = self._summaries(metric, {recipe: recipe}, task, where)
        return _number(found.estimate)

    def change(
        self, metric: str, recipe: str, against: str = DENSE, task: str = "", where: Where = lambda _: True
    ) -> Number:
        """recipe minus `against` on the same items; percent of it for perplexities, points for shares."""
        _, found = self._summaries(metric, {"base": against, "own": recipe}, task, where)
        assert found.delta is not None
        return _number(found.delta)

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
        metric = speed_metric(self.items(recipe, task), name)
        if metric is None:
            raise CellError(f"{recipe} on {task}: no {name} was measured")
        e = metric.estimate
        return Number(e.value, "x", e.low, e.high, e.num_items, e.note or "repeats")

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

    def _summaries(self, metric: str, arms: Mapping[str, str], task: str, where: Where) -> Sequence[Any]:
        """One bench Metric an arm, the first the baseline of the others. arms: name -> recipe."""
        rows = {name: self.rows(r, task, lambda row: row.metric == metric and where(row)) for name, r in arms.items()}
        for name, mine in rows.items():
            if not mine:
                raise CellError(f"{arms[name]} on {task or self._only_task()}: no {metric} was measured")
        return [metric_of(s) for s in summarise(rows, next(iter(arms)), seed=self.comparison.conditions["seed"])]


def _number(e: Estimate) -> Number:
    number = Number(e.value, e.unit, e.low, e.high, e.num_items)
    return replace(number, note=note(e.num_documents))
