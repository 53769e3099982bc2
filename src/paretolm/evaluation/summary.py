"""Rows of several recipes become one line a metric and recipe, set against a baseline. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import CellError, UserError
from . import statistics as st
from .rows import METRICS, Metric, Row, Tag


@dataclass(frozen=True)
class Summary:
    """mean [low, high]: the recipe alone; delta [delta_low, delta_high]: recipe minus baseline on the same items.

    For metrics of scale 'perplexity' mean is a perplexity and delta a ratio of perplexities (1 is no change).
    p is unadjusted, p_holm adjusted over the recipes of this metric and group. sde: the smallest delta that
    would have been found with 80% power at the observed spread (as a ratio above 1 for perplexity). None means
    that the number cannot be told: one document, nothing to compare with, no spread.
    """

    metric: str
    recipe: str
    n_items: int
    n_docs: int
    mean: float
    low: float | None
    high: float | None
    delta: float | None = None
    delta_low: float | None = None
    delta_high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    sde: float | None = None
    few_clusters: bool = False
    group: Tag | None = None  # value of the tag the rows are grouped by


def summarise(
    rows_by_recipe: Mapping[str, Sequence[Row]], baseline: str, *, by: str | None = None, seed: int = 0
) -> list[Summary]:
    """One Summary a recipe, metric and value of tag `by` (rows without that tag are left aside then).

    Raises UserError where two recipes were scored on different items, CellError for a value that is no number.
    """
    if baseline not in rows_by_recipe:
        raise UserError(f"the baseline {baseline!r} is not among the recipes scored")
    cells = {recipe: _cells(rows, by, recipe) for recipe, rows in rows_by_recipe.items()}
    summaries: list[Summary] = []
    for key in _ordered(cells):
        family = []
        for recipe, cell in cells.items():
            if key in cell:
                base = None if recipe == baseline else cells[baseline].get(key)
                family.append(_summary(recipe, key, cell[key], base, baseline, seed))
        summaries += _adjusted(family)
    return summaries


CellKey = tuple[str, Tag | None]


def _cells(rows: Sequence[Row], by: str | None, recipe: str) -> dict[CellKey, list[Row]]:
    cells: dict[CellKey, list[Row]] = {}
    for row in rows:
        if not math.isfinite(row.value) or not row.weight > 0 or math.isinf(row.weight):
            raise CellError(
                f"{recipe}: {row.metric} of item {row.item} is {row.value} with weight {row.weight}, which cannot be averaged"
            )
        if by is None or by in row.tags:
            cells.setdefault((row.metric, row.tags[by] if by else None), []).append(row)
    return cells


def _ordered(cells: Mapping[str, Mapping[CellKey, object]]) -> list[CellKey]:
    """Metrics in order of appearance, groups of one metric sorted (numbers before words)."""
    metrics = list(dict.fromkeys(m for cell in cells.values() for m, _ in cell))
    groups = {key for cell in cells.values() for key in cell}
    return sorted(groups, key=lambda k: (metrics.index(k[0]), isinstance(k[1], str), k[1] if k[1] is not None else 0))


def _summary(
    recipe: str, key: CellKey, rows: Sequence[Row], base: Sequence[Row] | None, baseline: str, seed: int
) -> Summary:
    metric = METRICS[key[0]]
    own = _clusters(rows, [r.value for r in rows])
    shown = _shown(metric)
    low, high = _arm_interval(metric, rows, own, seed)
    summary = Summary(
        metric=metric.name,
        recipe=recipe,
        n_items=len({r.item for r in rows}),
        n_docs=own.count,
        mean=shown(own.mean),
        low=None if low is None else shown(low),
        high=None if high is None else shown(high),
        few_clusters=own.count < st.FEW_CLUSTERS,
        group=key[1],
    )
    return summary if base is None else _against(summary, metric, rows, _paired(rows, base, recipe, baseline), seed)


def _against(summary: Summary, metric: Metric, rows: Sequence[Row], differences: Sequence[float], seed: int) -> Summary:
    clusters = _clusters(rows, differences)
    low, high = st.interval(clusters, seed)
    p = st.sign_flip(clusters, seed)
    if _binary(metric, rows) and low is not None and high is not None:
        lost, won = differences.count(-1.0), differences.count(1.0)
        if clusters.singletons:
            low, high = st.paired_binary_interval(lost, won, clusters.count)
            p = st.mcnemar(lost, won)
        elif not lost + won:
            low, high = st.paired_binary_interval(0, 0, clusters.count)
        low, high = max(-1.0, low), min(1.0, high)
    shown = _shown(metric)
    sde = st.smallest_effect(clusters)
    return replace(
        summary,
        delta=shown(clusters.mean),
        delta_low=None if low is None else shown(low),
        delta_high=None if high is None else shown(high),
        p=p,
        sde=None if sde is None else shown(sde),
    )


def _paired(rows: Sequence[Row], base: Sequence[Row], recipe: str, baseline: str) -> list[float]:
    """Recipe minus baseline, row by row. Raises UserError unless both have the same rows with the same weights."""
    ours, theirs = {r.key: r for r in rows}, {r.key: r for r in base}
    for name, found, given in ((recipe, ours, rows), (baseline, theirs, base)):
        if len(found) != len(given):
            raise UserError(f"{name}: {given[0].metric} has {len(given) - len(found)} items more than once")
    if ours.keys() != theirs.keys():
        odd = min(map(str, ours.keys() ^ theirs.keys()))
        raise UserError(
            f"{recipe} and {baseline} were not scored on the same items of {rows[0].metric} "
            f"({len(ours)} and {len(theirs)} rows; {odd} is in one only): score both again"
        )
    if any(not math.isclose(r.weight, theirs[r.key].weight, rel_tol=1e-9) for r in rows):
        raise UserError(f"{recipe} and {baseline} weigh the items of {rows[0].metric} differently: score both again")
    return [r.value - theirs[r.key].value for r in rows]


def _clusters(rows: Sequence[Row], values: Sequence[float]) -> st.Clusters:
    return st.clustered(values, [r.weight for r in rows], [r.doc for r in rows])


def _arm_interval(metric: Metric, rows: Sequence[Row], clusters: st.Clusters, seed: int) -> st.Bounds:
    if _binary(metric, rows) and clusters.count > 1:
        return st.share_interval(clusters)
    return st.interval(clusters, seed)


def _binary(metric: Metric, rows: Sequence[Row]) -> bool:
    return metric.scale == "binary" and all(r.value in (0.0, 1.0) and r.weight == 1.0 for r in rows)


def _shown(metric: Metric) -> Callable[[float], float]:
    """From the mean of rows to the number people read."""
    return _perplexity if metric.scale == "perplexity" else float


def _perplexity(nll: float) -> float:
    return math.exp(nll) if nll < 700 else math.inf


def _adjusted(family: Sequence[Summary]) -> list[Summary]:
    adjusted = iter(st.holm([s.p for s in family if s.p is not None]))
    return [s if s.p is None else replace(s, p_holm=next(adjusted)) for s in family]
