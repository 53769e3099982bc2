"""A benchmark task as a study: scored by `compare` on every model, and its rows laid out by their tags."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, variance
from typing import Any

from ..bench.compare import compare
from ..bench.records.relay import opened
from ..bench.results.estimates import metric_of
from ..errors import CellError
from ..evaluation import statistics as st
from ..evaluation.rows import METRICS, Row, Tag
from ..evaluation.summary import summarise
from .study import Column, Figure, Line, Number, Place, Table, Value

DENSE = "dense"
SOURCES = ("studies/_by_tags.py",)


@dataclass(frozen=True)
class Answered:
    """One item: its tags, metric -> value, and the facts kept beside it."""

    item: str
    doc: str
    tags: Mapping[str, Tag]
    values: Mapping[str, float]
    facts: Mapping[str, Any]

    def row(self, model: str) -> dict[str, Any]:
        """As a raw record."""
        kept = {k: v for k, v in self.facts.items() if k not in _OF_THE_BENCH}
        return {"model": model, "item": self.item, **self.tags, **self.values, **kept}


_OF_THE_BENCH = (
    "counters",
    "seconds",
    "chunk",
    "predicted",
    "predicted_weights",
    "kv_bytes",
    "index_bytes",
    "weight_bytes",
)
Items = Mapping[str, Sequence[Answered]]  # model -> its items


def answered(at: Place, task: str, seed: int) -> dict[str, list[Answered]]:
    """Model -> every item of the task, scored by the untouched model; what the store has is not scored again.

    Raises CellError where the task cannot be scored."""
    found = {}
    options = {k: v for k, v in at.options.items() if v is not None}
    attention = options.pop("attn_implementation", None)
    for model in at.models:
        done = compare(
            model,
            [DENSE],
            [task],
            text=at.text,
            output=at.output,
            seed=seed,
            attention=attention,
            progress=at.progress,
            **options,
        )
        (cell,) = done.recipes[0].cells
        if cell.state != "done":
            raise CellError(f"{model} on {task}: {cell.reason or cell.state}")
        with opened(Path(done.store)) as store:
            found[model] = [_item(one.item, one.doc, one.rows, one.facts) for one in store.items(cell.key)]
    return found


def _item(name: str, doc: str, rows: Sequence[Row], facts: Mapping[str, Any]) -> Answered:
    return Answered(name, doc, rows[0].tags, {r.metric: r.value for r in rows}, facts)


def score(items: Sequence[Answered], metric: str, seed: int = 0) -> Number:
    """Mean with interval, shares in percent."""
    rows = [Row(i.item, i.doc, metric, i.values[metric]) for i in items if metric in i.values]
    e = metric_of(summarise({DENSE: rows}, DENSE, seed=seed)[0]).estimate
    return Number(e.value, e.unit, e.low, e.high, e.num_items, e.note)


def average(values: Sequence[float], docs: Sequence[str], unit: str, seed: int = 0) -> Number:
    """Mean of one value an item, with interval over documents."""
    clusters = st.clustered(values, [1.0] * len(values), docs)
    return Number(clusters.mean, unit, *st.interval(clusters, seed), len(values))


def part(items: Sequence[Answered], tag: str, last: bool = False) -> list[Answered]:
    """Those of the first value of a tag, or of the last."""
    return list(by(items, tag).values())[-1 if last else 0]


def difference(items: Sequence[Answered], others: Sequence[Answered], metric: str) -> Number:
    """Points by which the first do better than the others, with a normal interval of two samples."""
    values = [[100 * i.values[metric] for i in group if metric in i.values] for group in (items, others)]
    means, spreads = [fmean(v) for v in values], [variance(v) / len(v) if len(v) > 1 else 0.0 for v in values]
    half, d = 1.96 * math.sqrt(sum(spreads)), means[0] - means[1]
    return Number(d, "points", d - half, d + half, sum(map(len, values)))


def by(items: Sequence[Answered], tag: str) -> dict[Tag, list[Answered]]:
    """Value of the tag -> items, numbers in order, words in order of appearance."""
    found: dict[Tag, list[Answered]] = {}
    for one in items:
        if tag in one.tags:
            found.setdefault(one.tags[tag], []).append(one)
    return found if any(isinstance(v, str) for v in found) else dict(sorted(found.items()))


def grid(title: str, items: Items, metric: str, rows: str, columns: str) -> Table:
    """Mean of a metric, in percent, by two tags; the last column is over all."""
    values = list(dict.fromkeys(v for mine in items.values() for v in by(mine, columns)))
    shown = sorted(values, key=lambda v: (isinstance(v, str), v if not isinstance(v, str) else 0))
    made: list[tuple[Value, ...]] = []
    for model, mine in items.items():
        for name, group in by(mine, rows).items():
            cells = [percent(by(group, columns).get(v, []), metric) for v in shown]
            if any(c is not None for c in cells):
                made.append((model, str(name), *cells, percent(group, metric), len(group)))
    heads = (Column("model"), Column(rows.replace("_", " ")), *(Column(f"{columns} {v}", "%", ".1f") for v in shown))
    return Table(title, (*heads, Column("all", "%", ".1f", METRICS[metric].help), Column("items")), tuple(made))


def percent(group: Sequence[Answered], metric: str) -> float | None:
    found = [one.values[metric] for one in group if metric in one.values]
    return 100 * sum(found) / len(found) if found else None


def curves(title: str, items: Items, metric: str, lines: str, x: str, where: Callable[[Answered], float]) -> Figure:
    """One line a model and value of tag `lines`, over groups of tag `x`; where: an item's place on the x axis."""
    made = []
    for model, mine in items.items():
        for name, group in by(mine, lines).items():
            at = [(fmean(map(where, g)), percent(g, metric) or 0.0) for g in by(group, x).values()]
            title_ = f"{name}, {model}" if len(items) > 1 else str(name)
            made.append(Line(title_, tuple(x for x, _ in at), tuple(y for _, y in at)))
    return Figure(title, x, f"{metric}, %", tuple(made))


def raw(items: Items) -> list[dict[str, Any]]:
    return [one.row(model) for model, mine in items.items() for one in mine]


def named(name: str, model: str, items: Items) -> str:
    """A number's name; the model is part of it where there are several."""
    return name if len(items) == 1 else f"{name} ({model})"
