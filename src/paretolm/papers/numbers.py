"""Numbers with intervals from values an item, clustered by document: what direct measurements hand back."""

from __future__ import annotations

from collections.abc import Sequence

from ..evaluation import statistics as st
from ..studies.study import Number


def exact(value: float, unit: str = "", n: int | None = None) -> Number:
    """A count, or bytes: nothing about it is drawn."""
    return Number(value, unit, value, value, n)


def mean(
    values: Sequence[float],
    documents: Sequence[str],
    *,
    weights: Sequence[float] | None = None,
    unit: str = "",
    seed: int = 0,
) -> Number:
    """Weighted mean with its bootstrap-t interval over documents; n: values."""
    clusters = st.clustered(values, [1.0] * len(values) if weights is None else weights, documents)
    low, high = st.interval(clusters, seed)
    return Number(clusters.mean, unit, low, high, len(values), note(clusters.count))


def share(hits: Sequence[bool], documents: Sequence[str], *, seed: int = 0) -> Number:
    """Percent of hits, exact interval over documents (see statistics.share_interval)."""
    clusters = st.clustered([float(h) for h in hits], [1.0] * len(hits), documents)
    value, count = 100 * clusters.mean, len(hits)
    if clusters.count < 2:
        return Number(value, "%", n=count, note=note(clusters.count))
    low, high = st.share_interval(clusters)
    return Number(value, "%", 100 * low, 100 * high, count, note(clusters.count))


def note(documents: int) -> str:
    """Why an interval is missing or wide; else how many documents it stands on."""
    if documents < 2:
        return "one document"
    return f"{documents} documents" + (", too few to trust the interval much" if documents < st.FEW_CLUSTERS else "")
