"""Rows -> estimates in the units people read: averages, paired differences, breakdowns. Loads numpy and scipy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ...evaluation.rows import METRICS, Row
from ...evaluation.summary import Summary, summarise
from .types import FEW, Estimate, Metric, Series

DENSE = "dense"

Rows = Mapping[str, Sequence[Row]]  # recipe -> its rows, the untouched model's under 'dense'


def estimates(rows: Rows, headline: str, seed: int) -> dict[str, tuple[list[Metric], list[Series]]]:
    """Recipe -> its metrics, the headline first, and their breakdowns."""
    metrics: dict[str, list[Metric]] = {name: [] for name in rows}
    for s in _summaries(rows, seed):
        metrics[s.recipe].append(metric_of(s))
    series = breakdowns(rows, seed)
    return {name: (sorted(metrics[name], key=lambda m: m.name != label(headline)), series[name]) for name in rows}


def _summaries(rows: Rows, seed: int, by: str | None = None) -> list[Summary]:
    """Against the untouched model; where it failed, each recipe alone."""
    if DENSE in rows:
        return summarise(rows, DENSE, by=by, seed=seed)
    return [s for name, mine in rows.items() for s in summarise({name: mine}, name, by=by, seed=seed)]


def label(metric: str) -> str:
    """The name of a metric as it is shown."""
    return METRICS[metric].label


def metric_of(s: Summary) -> Metric:
    """A summary in the units people read."""
    kind = METRICS[s.metric]
    unit, factor, delta_unit = _units(s.metric)
    note = "one document" if s.low is None else FEW if s.few_clusters else ""

    def estimate(values: tuple[float | None, ...], unit: str) -> Estimate | None:
        value, low, high = values
        return None if value is None else Estimate(value, low, high, unit, s.n_items, s.n_docs, note)

    def scaled(*values: float | None) -> tuple[float | None, ...]:
        return tuple(None if v is None else v * factor for v in values)

    def change(*values: float | None) -> tuple[float | None, ...]:
        if kind.scale == "perplexity":
            return tuple(None if v is None else 100 * (v - 1) for v in values)
        return scaled(*values)

    found = estimate(scaled(s.mean, s.low, s.high), unit)
    assert found is not None
    return Metric(
        label(s.metric),
        kind.better == "higher",
        found,
        estimate(change(s.delta, s.delta_low, s.delta_high), delta_unit),
        change(s.sde)[0],
        s.p_holm,
    )


def _units(metric: str) -> tuple[str, float, str]:
    """(unit of the value, factor, unit of a difference)."""
    kind = METRICS[metric]
    if kind.scale == "perplexity":
        return "", 1.0, "%"
    if kind.unit == "share":
        return "%", 100.0, "points"
    return kind.unit, 1.0, kind.unit


def breakdowns(rows: Rows, seed: int) -> dict[str, list[Series]]:
    """Recipe -> breakdowns along the one or two numeric tags of a metric that vary."""
    found: dict[str, list[Series]] = {name: [] for name in rows}
    tags = _varying([row for mine in rows.values() for row in mine])
    lines = {metric: names[0] for metric, names in tags.items() if len(names) == 1}
    for tag in sorted(set(lines.values())):
        groups = _summaries(_only(rows, [m for m, t in lines.items() if t == tag]), seed, by=tag)
        for (name, metric), buckets in _grouped(groups).items():
            found[name].append(_line(metric, tag, buckets))
    for metric, names in tags.items():
        if len(names) == 2 and METRICS[metric].unit == "share":
            for name, mine in rows.items():
                if grid := _grid([r for r in mine if r.metric == metric], metric, *names):
                    found[name].append(grid)
    return found


def _varying(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Metric -> its numeric tags of more than one value; length before depth, and only these two where both are."""
    values: dict[str, dict[str, set[float]]] = {}
    for row in rows:
        for tag, value in row.tags.items():
            if isinstance(value, int | float):
                values.setdefault(row.metric, {}).setdefault(tag, set()).add(value)
    found = {metric: sorted(t for t, seen in tags.items() if len(seen) > 1) for metric, tags in values.items()}
    return {m: ["length", "depth"] if {"length", "depth"} <= set(names) else names for m, names in found.items()}


def _only(rows: Rows, metrics: Sequence[str]) -> dict[str, list[Row]]:
    return {name: [r for r in mine if r.metric in metrics] for name, mine in rows.items()}


def _grouped(groups: Iterable[Summary]) -> dict[tuple[str, str], list[Summary]]:
    found: dict[tuple[str, str], list[Summary]] = {}
    for s in groups:
        found.setdefault((s.recipe, s.metric), []).append(s)
    return found


def _line(metric: str, tag: str, groups: Sequence[Summary]) -> Series:
    _, factor, _ = _units(metric)
    ordered = sorted(groups, key=lambda s: float(s.group or 0))
    return Series(
        metric=label(metric),
        x_name=tag,
        x=tuple(float(s.group or 0) for s in ordered),
        value=tuple(s.mean * factor for s in ordered),
        low=tuple(None if s.low is None else s.low * factor for s in ordered),
        high=tuple(None if s.high is None else s.high * factor for s in ordered),
        num_items=tuple(s.n_items for s in ordered),
    )


def _grid(rows: Sequence[Row], metric: str, x: str, y: str) -> Series | None:
    places: dict[tuple[float, float], list[float]] = {}
    for row in rows:
        if x in row.tags and y in row.tags:
            places.setdefault((float(row.tags[x]), float(row.tags[y])), []).append(row.value)
    if not places:
        return None
    at = sorted(places)
    return Series(
        metric=label(metric),
        x_name=x,
        x=tuple(p[0] for p in at),
        y_name=y,
        y=tuple(p[1] for p in at),
        value=tuple(sum(places[p]) / len(places[p]) for p in at),
        num_items=tuple(len(places[p]) for p in at),
    )
