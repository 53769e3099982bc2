"""Rungs of the search as cells of the store: each recipe on some items of each task, beside the untouched model."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import TextError
from ...evaluation.isolated import rebuilt
from ...evaluation.rows import Row
from ..desk import Desk
from ..plan import DENSE, Cell, make_cells
from ..records.store import SETTLED, Store
from ..results.gather import Measured, acted
from ..results.trust import trusted
from ..results.types import FEW, CellResult, Estimate
from ..until import Docket
from .limits import Limit
from .types import Foreseen, Point

if TYPE_CHECKING:
    from ...evaluation.summary import Summary

STREAMS = 12
POSITIONS = 64
RECALL_ITEMS = 6  # of each depth
PROVED = 0.5  # share of the items that the search does not see
RUNGS = (1 / 6, 1 / 2, 1)  # of the items that it does


def task_line(task: str, context: int, trained: int) -> str:
    """The task that scores a quality, as long as the context."""
    if task == "recall":
        return f"recall(lengths={context / min(trained, 4096):.6g}, repeats={RECALL_ITEMS})"
    more = "audit=0" if task == "perplexity" else f"positions={POSITIONS}"
    return f"{task}(length={context}, streams={STREAMS}, context=0.75, {more})"


class Some(Docket):
    """Some items of each task: what is scored now. Cells stay partial, so that others go on from there."""

    def __init__(self, store: Store, cells: Sequence[Cell], only: Mapping[str, Sequence[str]]) -> None:
        super().__init__(None, store, cells)
        self.only = only

    def is_open(self, cell: Cell, states: Mapping[str, str]) -> bool:
        """Also a cell whose process ended before it had checked itself on its items."""
        wanted, state = self.only.get(cell.task), states[cell.key]
        if state in SETTLED or state == "running" or wanted is None:
            return state not in SETTLED
        return not set(wanted) <= self.store.item_names(cell.key)


class DeskJudge:
    """Scores through the workers of a desk. watched: qualities; tasks: the name of each one's task -> its line."""

    def __init__(self, desk: Desk, watched: Sequence[Limit], tasks: Mapping[str, str]) -> None:
        self.desk, self.watched, self.tasks = desk, watched, tasks
        facts = desk.describe([DENSE], list(tasks.values()))[1]
        for one in facts.values():
            if "error" in one:
                raise rebuilt(one["error"])
        self.sees = set.intersection(*(set(one["sees"]) for one in facts.values()))
        orders = {line: order(desk, line) for line in tasks.values()}
        self.seen = {line: names[: len(names) - count_held_out(names, line)] for line, names in orders.items()}
        self.held_out = {line: names[len(self.seen[line]) :] for line, names in orders.items()}
        self.base: dict[str, float] = {}
        self.dense: dict[str, Estimate] = {}
        self.cells: dict[str, Cell] = {}
        self.old: set[tuple[str, str]] = set()  # cell and item, read from the store
        self.new: set[tuple[str, str]] = set()  # scored by this call

    def items(self, rung: int) -> dict[str, list[str]]:
        """Task -> names of the items that a rung scores."""
        return {line: names[: max(1, round(len(names) * RUNGS[rung]))] for line, names in self.seen.items()}

    def score(self, recipes: Sequence[Foreseen], rung: int) -> list[Point]:
        return self.score_on(recipes, self.items(rung))

    def score_on(
        self,
        recipes: Sequence[Foreseen],
        only: Mapping[str, Sequence[str]],
        without: Mapping[str, Collection[str]] | None = None,
    ) -> list[Point]:
        """without: task -> documents whose rows do not count. The untouched model's estimates are kept in `dense`."""
        lines = list(dict.fromkeys([DENSE, *(f.line for f in recipes)]))
        facts, tasks = self.desk.describe(lines, list(self.tasks.values()))
        params = {"limit": None, "chunk": None}
        cells = list(make_cells(self.desk.conditions, facts, tasks, params, self.desk.source.data_hash))
        known = self._known(cells, only)
        self.old |= known - self.new
        some = Some(self.desk.store, cells, only)
        self.desk.measure([c for c in cells if c.key], {name: f["line"] for name, f in facts.items()}, some)
        self.new |= self._known(cells, only) - known
        self.cells |= {c.key: c for c in cells if c.key}
        found = {line: dict[str, Estimate]() for line in lines}
        failed: dict[str, str] = {}
        for name, line in self.tasks.items():
            mine = [c for c in cells if c.task == line]
            rows, why = self._rows(mine, facts, set(only[line]), (without or {}).get(line, ()))
            failed |= {r: w for r, w in why.items() if r not in failed}
            for limit in self.watched:
                if limit.measure and limit.measure.task == name:
                    for recipe, estimate in _estimates(rows, limit, self.desk.request.seed).items():
                        found[recipe][limit.name] = estimate
        if DENSE in failed:
            raise TextError(f"the untouched model could not be scored: {failed[DENSE]}")
        self.dense = found[DENSE]
        self.base = {name: e.value for name, e in self.dense.items()}
        count = sum(len(names) for names in only.values())
        return [self._point(f, found[f.line], failed.get(f.line, ""), count) for f in recipes]

    def _known(self, cells: Sequence[Cell], only: Mapping[str, Sequence[str]]) -> set[tuple[str, str]]:
        """Cell and item of what the store holds of these items."""
        names = {line: set(wanted) for line, wanted in only.items()}
        keyed = [c for c in cells if c.key]
        return {(c.key, name) for c in keyed for name in self.desk.store.item_names(c.key) & names[c.task]}

    def documents(self, only: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
        """Task -> documents that these items scored."""
        dense = {c.task: c.key for c in self.cells.values() if c.recipe == DENSE}
        return {
            line: {r.doc for one in self.desk.store.items(dense[line]) if one.item in set(names) for r in one.rows}
            for line, names in only.items()
        }

    def _point(self, f: Foreseen, scores: Mapping[str, Estimate], why: str, items: int) -> Point:
        if not why and len(f.exact) == len(f.methods) and f.methods:
            scores = {**self.dense, **scores}  # promised, and no task can see it
        missing = [w.name for w in self.watched if w.name not in scores]
        if why or missing:
            return Point(f, {}, "failed", why or f"no task can see it act on {' and '.join(missing)}", items)
        return Point(f, scores, "scored", "", items)

    def _rows(
        self, cells: Sequence[Cell], facts: Mapping[str, Mapping[str, Any]], names: set[str], without: Collection[str]
    ) -> tuple[dict[str, list[Row]], dict[str, str]]:
        """(recipe -> its rows of one task, recipe -> why it has none)."""
        records = self.desk.store.cells([c.key for c in cells if c.key])
        measured, why = dict[str, Measured](), dict[str, str]()
        for c in cells:
            if not c.key:
                if c.failed:
                    why[c.recipe] = c.reason
            elif records[c.key].state in ("failed", "broken"):
                why[c.recipe] = records[c.key].error or "it failed"
            else:
                items = [one for one in self.desk.store.items(c.key) if one.item in names]
                measured[c.recipe] = Measured(c, records[c.key], items)
        results = {n: CellResult(m.cell.task, *acted(m)[:2]) for n, m in measured.items()}
        approximate = {n: sorted(set(facts[n]["methods"]) - set(facts[n]["exact"])) for n in measured}
        seed, content = self.desk.request.seed, self.desk.conditions.content
        told = trusted(self.desk.store, content, seed, measured, results, approximate)
        why |= {n: f"{r.state}: {r.reason}" for n, r in told.items() if r.state != "done"}
        rows = {n: _kept(m.rows, without) for n, m in measured.items() if n not in why}
        return rows, why


def order(desk: Desk, line: str) -> list[str]:
    """Names of a task's items in the order in which they are scored."""
    return list(desk.ask_once("order", line, task=line, seed=desk.request.seed, limit=None))


def count_held_out(names: Sequence[str], line: str) -> int:
    """How many of a task's items are kept for proofs. Raises TextError where there is only one."""
    if len(names) < 2:
        raise TextError(
            f"the text is enough for one item of {line}; a proof needs another that the search has not seen: "
            "give more text, or a smaller --context"
        )
    return max(1, int(len(names) * PROVED))


def _kept(rows: Sequence[Row], without: Collection[str]) -> list[Row]:
    """Rows of other documents; all of them where there are no others."""
    return [row for row in rows if row.doc not in without] or list(rows)


# --- estimates in the form of a limit ---


def _estimates(rows: Mapping[str, Sequence[Row]], limit: Limit, seed: int) -> dict[str, Estimate]:
    """Recipe -> the value that the limit is held against, with its 95% interval by document."""
    from ...evaluation.summary import summarise

    assert limit.measure is not None
    metric = limit.measure.metric
    mine = {name: [r for r in own if r.metric == metric] for name, own in rows.items()}
    summaries = summarise({name: own for name, own in mine.items() if own}, DENSE, seed=seed)
    dense = next(s for s in summaries if s.recipe == DENSE)
    found = {}
    for s in summaries:
        value, low, high = _in_form(limit, s, dense)
        note = "one document" if low is None else FEW if s.few_clusters else ""
        unit = "x" if limit.form == "factor" else "share" if limit.measure.higher else limit.measure.unit
        found[s.recipe] = Estimate(value or 0.0, low, high, unit, s.n_items, s.n_docs, note)
    return found


def _in_form(limit: Limit, s: Summary, dense: Summary) -> tuple[float | None, float | None, float | None]:
    """Value and interval: of the recipe alone, or as a factor of the untouched model's."""
    if limit.form != "factor":
        return s.mean, s.low, s.high
    if s is dense:
        return 1.0, 1.0, 1.0
    if limit.name == "ppl":
        return s.delta, s.delta_low, s.delta_high  # a ratio of perplexities
    value, low, high = (_over(d, dense.mean) for d in (s.delta, s.delta_low, s.delta_high))
    return value, low, high


def _over(difference: float | None, whole: float) -> float | None:
    if difference is None:
        return None
    return 1 + difference / whole if whole else (1.0 if difference == 0 else math.inf)
