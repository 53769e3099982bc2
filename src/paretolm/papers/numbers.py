"""Numbers with intervals, clustered by document: from rows as the judge draws them, and from plain values. n counts
documents, or repeats where time was taken."""

from __future__ import annotations

from collections.abc import Sequence

from ..bench.results.estimates import metric_of
from ..bench.results.types import Estimate
from ..evaluation import statistics as st
from ..evaluation.rows import Row
from ..evaluation.spread import spread
from ..evaluation.summary import summarise
from ..studies.study import Number


def exact(value: float, unit: str = "", n: int | None = None) -> Number:
    """A count, or bytes: nothing about it is drawn."""
    return Number(value, unit, value, value, n)


def of_rows(rows: Sequence[Row], seed: int = 0) -> Number:
    """Rows of one metric in the units people read: perplexity for nll, percent for shares."""
    (s,) = summarise({"own": rows}, "own", seed=seed)
    return _number(metric_of(s).estimate)


def change(rows: Sequence[Row], against: Sequence[Row], seed: int = 0) -> Number:
    """The paired difference of rows of one metric: percent for perplexities, points for shares."""
    _, s = summarise({"base": against, "own": rows}, "base", seed=seed)
    delta = metric_of(s).delta
    assert delta is not None
    return _number(delta)


def _number(e: Estimate) -> Number:
    return Number(e.value, e.unit, e.low, e.high, e.num_documents, note(e.num_documents, e.num_items))


def mean(
    values: Sequence[float],
    documents: Sequence[str],
    *,
    weights: Sequence[float] | None = None,
    unit: str = "",
    seed: int = 0,
) -> Number:
    """Weighted mean with its bootstrap-t interval over documents."""
    clusters = st.clustered(values, [1.0] * len(values) if weights is None else weights, documents)
    low, high = st.interval(clusters, seed)
    return Number(clusters.mean, unit, low, high, clusters.count, note(clusters.count, len(values)))


def share(hits: Sequence[bool], documents: Sequence[str]) -> Number:
    """Percent of hits, exact interval over documents (see statistics.share_interval)."""
    clusters = st.clustered([float(h) for h in hits], [1.0] * len(hits), documents)
    value, count, said = 100 * clusters.mean, clusters.count, note(clusters.count, len(hits))
    if count < 2:
        return Number(value, "%", n=count, note=said)
    low, high = st.share_interval(clusters)
    return Number(value, "%", 100 * low, 100 * high, count, said)


def median(values: Sequence[float], unit: str = "x") -> Number:
    """Of repeats, with the interval of order statistics."""
    s = spread(values)
    said = "repeats" if s.coverage >= st.LEVEL else f"repeats, {100 * s.coverage:.0f}% interval"
    return Number(s.median, unit, s.low, s.high, s.n, said)


def note(documents: int, items: int) -> str:
    """What n counts, and why an interval is missing or wide."""
    if documents < 2:
        return "one document"
    few = ", too few to trust the interval much" if documents < st.FEW_CLUSTERS else ""
    return f"documents{few}" if items == documents else f"documents of {items} items{few}"
