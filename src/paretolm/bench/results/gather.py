"""Rows of the store -> what each cell says: estimates, bytes held, who acted."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...evaluation.rows import Row
from ...evaluation.spread import spread
from ..plan import SPEED, Cell
from ..records.keys import PACKAGE, digest, file_hash
from ..records.store import CellRecord, Scored, Store
from .types import Booked, Bytes, CellResult, Estimate, Metric, Runtime, Series, State

_STATISTICS = (
    "evaluation/statistics.py",
    "evaluation/summary.py",
    "evaluation/rows.py",
    "bench/results/estimates.py",
    "bench/results/decisions.py",
)


@dataclass(frozen=True)
class Measured:
    """One finished cell as it lies in the store."""

    cell: Cell
    record: CellRecord
    items: Sequence[Scored]
    decided: Mapping[str, Any] | None = None  # why these are all the items it needed

    @property
    def rows(self) -> list[Row]:
        return [row for one in self.items for row in one.rows]

    @property
    def counters(self) -> dict[str, dict[str, float]]:
        """Method -> counter -> total over the items."""
        total: dict[str, dict[str, float]] = {}
        for one in self.items:
            for method, counts in one.facts.get("counters", {}).items():
                mine = total.setdefault(method, {})
                for name, count in counts.items():
                    mine[name] = mine.get(name, 0) + count
        return total

    @property
    def idle(self) -> list[str]:
        """Methods that did nothing on any item."""
        return [method for method, counts in self.counters.items() if not any(counts.values())]


def quality_results(
    store: Store, measured: Mapping[str, Measured], headline: str, seed: int, process: bool
) -> dict[str, CellResult]:
    """Recipe -> its result on one task. measured: finished cells, the untouched model's under 'dense'.

    process: speed or memory, whose numbers stand elsewhere. Where the untouched model failed there is nothing to
    compare with, and recipes stand alone."""
    if process:
        return {name: _result(m, [], []) for name, m in measured.items()}
    known = _estimates(store, measured, headline, seed) if measured else {}
    return {
        name: _result(m, [_metric(x) for x in known[name][0]], [_breakdown(x) for x in known[name][1]])
        for name, m in measured.items()
    }


def _estimates(store: Store, measured: Mapping[str, Measured], headline: str, seed: int) -> dict[str, Any]:
    """Metrics and breakdowns as JSON. Those of the same cells by the same code are worked out once."""
    code = {name: file_hash(PACKAGE / name) for name in _STATISTICS}
    keys = {name: m.cell.key for name, m in measured.items()}
    decided = {name: m.decided for name, m in measured.items() if m.decided}  # never without the untouched model
    facts = {"cells": keys, "headline": headline, "seed": seed, "decided": decided, "code": code}
    memo = digest({"what": "estimates", **facts})
    known = store.recall(memo)
    if known is None:
        from .decisions import sequential_estimates
        from .estimates import estimates

        rows = {name: m.rows for name, m in measured.items()}
        found = sequential_estimates(rows, headline, seed, decided) if decided else estimates(rows, headline, seed)
        known = {name: [[asdict(x) for x in part] for part in parts] for name, parts in found.items()}
        store.remember(memo, known)
    return dict(known)


def unsettled(cell: Cell, record: CellRecord | None) -> CellResult:
    """The result of a cell without numbers."""
    if cell.failed or (record and record.state in ("failed", "broken")):
        return CellResult(cell.task, "failed", cell.reason or (record.error if record else None) or "", cell.key)
    if not cell.key:
        return CellResult(cell.task, "n/a", cell.reason)
    return CellResult(cell.task, "missing", "it was not measured", cell.key)


def _metric(data: Mapping[str, Any]) -> Metric:
    delta = data["delta"] and Estimate(**data["delta"])
    return Metric(**{**data, "estimate": Estimate(**data["estimate"]), "delta": delta})


def _breakdown(data: Mapping[str, Any]) -> Series:
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    return Series(**fields)


def _result(m: Measured, metrics: list[Metric], series: list[Series]) -> CellResult:
    longest = max(m.items, key=lambda one: one.facts.get("prompt", 0), default=None)
    state, why, notes = acted(m)
    return CellResult(
        task=m.cell.task,
        state=state,
        reason=why,
        key=m.cell.key,
        chunk=longest.facts.get("chunk") if longest else None,
        metrics=tuple(metrics),
        series=tuple(series),
        unseen=m.cell.unseen,
        notes=notes,
        seconds=sum(one.facts.get("seconds", 0.0) for one in m.items),
    )


def acted(m: Measured) -> tuple[State, str, tuple[str, ...]]:
    """A recipe that did nothing measures the untouched model under another name."""
    seen = [name for name in m.counters if name.partition("#")[0] not in m.cell.unseen]
    idle = [name for name in m.idle if name in seen]
    if seen and len(idle) == len(seen):
        return "did not act", f"{' and '.join(idle)} changed nothing: every counter stayed at zero", ()
    return "done", "", tuple(f"{name} did not act" for name in idle)


@dataclass(frozen=True)
class Sizes:
    kv: Bytes | None = None
    weights: Bytes | None = None
    index: float | None = None


def held(cells: Mapping[str, Measured], dense: Mapping[str, Measured]) -> Sizes:
    """Bytes after the longest prompt there was, beside the untouched model's at the same place."""
    known = [
        (one.facts["prompt"], -i, one.item, line)
        for i, (line, m) in enumerate(cells.items())
        for one in m.items
        if "kv_bytes" in one.facts
    ]
    if not known:
        return Sizes()
    _, _, item, line = max(known)
    f = next(one.facts for one in cells[line].items if one.item == item)
    w = next((one.facts for one in (dense[line].items if line in dense else ()) if one.item == item), {})
    return Sizes(
        _bytes(f["kv_bytes"], f["predicted"], w.get("kv_bytes"), f["prompt"]),
        _bytes(f["weight_bytes"], f["predicted_weights"], w.get("weight_bytes")),
        f["index_bytes"],
    )


def _bytes(held: float, predicted: Sequence[float | None], dense: float | None, tokens: int | None = None) -> Bytes:
    low, high = predicted
    return Bytes(held, low, high, dense, tokens)


def speed_metric(items: Sequence[Scored], name: str = "decode_speed_ratio") -> Metric | None:
    """Median of the repeats, with the interval of order statistics; none where it cannot be true."""
    values = _values(items, name)
    if not values or flags(items):
        return None
    s = spread(values)
    note = "" if s.coverage >= 0.95 else f"{100 * s.coverage:.0f}% interval of {s.n} repeats"
    return Metric(SPEED, True, Estimate(s.median, s.low, s.high, "ratio", s.n, s.n, note))


def flags(items: Sequence[Scored]) -> tuple[str, ...]:
    """Why a measured speed is not given."""
    return tuple(why for one in items for why in one.facts.get("flags", ()))


def runtime(items: Sequence[Scored], arm: str = "recipe") -> Runtime | None:
    """Of the recipe, or of the untouched model ('dense') in the same race; none where the recipe's cannot be true."""
    known = next((one.facts["seconds_of"][arm] for one in items if "seconds_of" in one.facts), None)
    return None if known is None or (arm == "recipe" and flags(items)) else Runtime(*known)


def dense_runtime(races: Iterable[Sequence[Scored]]) -> Runtime | None:
    """The untouched model's median over the races it took part in."""
    known = [found for items in races if (found := runtime(items, "dense"))]
    if not known:
        return None
    return Runtime(statistics.median(r.measured for r in known), statistics.median(r.ideal for r in known))


def memory_medians(items: Sequence[Scored]) -> dict[str, float]:
    """Name -> bytes, of the fresh processes."""
    names = dict.fromkeys(row.metric for one in items for row in one.rows)
    return {name: statistics.median(_values(items, name)) for name in names}


def ledger(items: Sequence[Scored]) -> tuple[Booked, ...]:
    """Of the first fresh process."""
    known = next((one.facts["ledger"] for one in items if "ledger" in one.facts), ())
    return tuple(Booked(**entry) for entry in known)


def _values(items: Sequence[Scored], name: str) -> list[float]:
    return [row.value for one in items for row in one.rows if row.metric == name]
