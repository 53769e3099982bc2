"""Cells whose scoring ended when their difference was decided: each set against the untouched model on its own items.

A fixed-n interval or p-value says nothing at a moment that the data chose, so the first metric's difference gets its
confidence sequence, and no p-value or smallest effect is given. The value beside it is the untouched model's on all
of its items plus the difference, which makes recipes of unequal items comparable (the difference estimator of
survey sampling: Cochran 1977, Sampling Techniques, ch. 7).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...evaluation.rows import METRICS, Row
from ...evaluation.sequential import Rule
from ...evaluation.summary import Summary, summarise
from .estimates import DENSE, breakdowns, label, metric_of
from .types import Decision, Metric, Series

Decided = Mapping[str, Mapping[str, Any]]  # recipe -> its decision as it was kept
NOTE = "the untouched model's number plus the difference"


def sequential_estimates(
    rows: Mapping[str, Sequence[Row]], headline: str, seed: int, decided: Decided
) -> dict[str, tuple[list[Metric], list[Series]]]:
    """Recipe -> its metrics, the headline first, and their breakdowns. decided: of every recipe but the untouched
    model, whose items are the first of the untouched model's."""
    alone = {s.metric: s for s in summarise({DENSE: rows[DENSE]}, DENSE, seed=seed)}
    found = {}
    for name, mine in rows.items():
        items = {row.item for row in mine}
        pair = {DENSE: [row for row in rows[DENSE] if row.item in items], name: mine}
        summaries = [s for s in summarise(pair, DENSE, seed=seed) if s.recipe == name]
        metrics = [
            metric_of(s) if name == DENSE else _metric(s, alone.get(s.metric), headline, decided[name])
            for s in summaries
        ]
        found[name] = sorted(metrics, key=lambda m: m.name != label(headline)), breakdowns(pair, seed)[name]
    return found


def _metric(s: Summary, base: Summary | None, headline: str, decision: Mapping[str, Any]) -> Metric:
    s = replace(s, p=None, p_holm=None, sde=None)
    if s.delta is None or base is None:
        return metric_of(s)
    ratio = METRICS[s.metric].scale == "perplexity"
    if s.metric == headline:
        low, high = _turned(s.metric, decision["low"], decision["high"])
        s = replace(s, delta_low=low, delta_high=high)
    assert s.delta is not None
    found = metric_of(replace(s, mean=base.mean * s.delta if ratio else base.mean + s.delta, low=None, high=None))
    return replace(found, estimate=replace(found.estimate, note=NOTE))


def _turned(metric: str, low: float | None, high: float | None) -> tuple[float | None, float | None]:
    """From how much worse, in the metric's unit, to the difference people read."""
    kind = METRICS[metric]
    if kind.better == "higher":
        low, high = (None if high is None else -high), (None if low is None else -low)
    if kind.scale == "perplexity":
        low, high = (None if v is None else math.exp(min(v, 700.0)) for v in (low, high))
    return low, high


def decision_of(metric: str, kept: Mapping[str, Any], rule: Rule) -> Decision:
    """As it is shown."""
    return Decision(
        word=kept["word"],
        margin=rule.margin,
        unit=METRICS[metric].unit,
        items=len(kept["items"]),
        of=kept["of"],
        documents=kept["documents"],
        e_value=kept["e_value"],
        needed=1 / rule.level,
        alpha=rule.alpha,
        recipes=rule.recipes,
    )
