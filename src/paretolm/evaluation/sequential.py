"""When to stop scoring: tests of a paired difference that may be looked at after every document. Loads numpy alone.

Each test is a bet against "the mean gain is not above 0". Of the next document a fraction of the capital is
staked, fixed before that document is seen; capital that grows k-fold is evidence at level 1/k, whenever one looks
(Ville 1939). Stakes are those of Waudby-Smith and Ramdas 2023 (Estimating means of bounded random variables by
betting, section 4), with Cover's universal portfolio instead of their plug-in bets: the mean of the capitals of
constant fractions from 0 to 1, so that nothing is tuned and no order of the first documents misleads it.

What is tested: a ratio of sums over documents, R = sum(w x) / sum(w), against a margin m. R <= m is the same
as E[w x - m w] <= 0, a plain mean, so the ratio costs nothing. Documents are taken to be drawn independently from
those the text stands for, in random order; within one anything goes.

What is assumed of the size of a document's difference:

- Scores with known bounds (right or wrong, shares): nothing. The level is exact at every number of documents.
- Unbounded scores (nats): no test can exclude a document that is rare enough and bad enough (Bahadur and Savage
  1956). The first FEW_CLUSTERS documents are not bet on; from then on the stake is such that a document REACH
  times as far off as the farthest so far would take all of it (bounds learned as by Cutkosky 2019, Artificial
  constraints and hints). So the part of the mean is neglected that comes from documents farther off than that, and
  nothing else: skewed and heavy-tailed documents keep the level (tests/evaluation/test_sequential.py measures it).
  What befalls fewer than one document in twenty may not have been seen when a decision falls.

Confidence sequences that rest on the central limit theorem (Waudby-Smith et al. 2024) and tests of symmetry by
sign flips were tried and left: with skewed documents, as a cache method makes them, they were wrong 18% and 20%
of the time at a level of 2.5% (lognormal differences, 400 looks).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Word = Literal["same", "worse", "better", "undecided"]

LEARNT = 20  # documents that are not bet on where bounds are learnt; statistics.FEW_CLUSTERS
REACH = 3.0
_NODES = 48
_HALVINGS = 30


@dataclass(frozen=True)
class Rule:
    """What counts as decided. margin: in the metric's own unit; alpha: the chance that any of the decisions on
    `recipes` recipes is wrong, whatever their number of looks.

    A wrong decision on one recipe needs one of two one-sided tests to fail, so each gets alpha / 2, divided by the
    number of recipes (Bonferroni: holds however recipes depend on each other and whenever each stops. Since evidence
    grows by factors, twice the recipes cost about the documents that double the capital once; e-BH would promise
    a share of wrong decisions, but every cell of a table is read on its own).
    """

    margin: float
    alpha: float = 0.05
    recipes: int = 1

    @property
    def level(self) -> float:
        """Of each one-sided test."""
        return self.alpha / (2 * max(1, self.recipes))


@dataclass(frozen=True)
class Bounds:
    """span: the most that two scores can differ; heaviest: the largest weight of one document there is."""

    span: float
    heaviest: float = 1.0


@dataclass(frozen=True)
class Decision:
    """word, and when it fell: after so many documents (None while undecided). e_value: the evidence for it, or the
    most there is for any decision. low, high: the confidence sequence at the last document, at level 1 - 2 * rule.level;
    None where not even that much is known. Positive is worse."""

    word: Word
    after: int | None
    e_value: float
    low: float | None
    high: float | None


def log_capital(gains: Sequence[float] | Array, floor: float | None = None) -> Array:
    """log of the capital after each document [T], betting that the mean of `gains` [T] is above 0.

    floor: what no gain falls below (a number under 0); None where it is learnt. Under a mean of at most 0 its
    exponent starts at 1 and is not expected to grow, so it ever reaches k with a chance of at most 1 / k."""
    g = np.asarray(gains, dtype=np.float64)
    most = np.zeros(len(g))  # of the capital a unit of loss may take
    if floor is not None:
        most[:] = -1.0 / floor
    elif len(g) > LEARNT:
        seen = np.maximum.accumulate(np.abs(g))[LEARNT - 1 : -1]
        most[LEARNT:] = np.divide(1.0, REACH * seen, out=np.zeros_like(seen), where=seen > 0)
    fractions, shares = _fractions()
    with np.errstate(divide="ignore"):
        steps = np.log(np.maximum(1.0 + fractions[:, None] * (most * g)[None], 0.0))
    found: Array = np.logaddexp.reduce(np.cumsum(steps, axis=1) + np.log(shares)[:, None], axis=0)
    return found


def _fractions() -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights on [0, 1]: few fractions that stand for all."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return (nodes + 1) / 2, weights / 2


def decide(
    sums: Sequence[float] | Array,
    weights: Sequence[float] | Array,
    rule: Rule,
    bounds: Bounds | None = None,
    *,
    interval: bool = True,
) -> Decision:
    """The first decision that falls on documents in this order.

    sums: of weight times difference [T], positive where the recipe is worse; weights: of weight [T]. 'same' needs
    two tests, that R is below the margin and that it is above minus the margin. interval: whether low and high are
    wanted, which cost ten times the rest."""
    s, w = np.asarray(sums, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    m, need = rule.margin, math.log(1 / rule.level)
    tests = {
        "worse": _test(s, w, m, 1, bounds),
        "better": _test(s, w, -m, -1, bounds),
        "not worse": _test(s, w, m, -1, bounds),
        "not better": _test(s, w, -m, 1, bounds),
    }
    when = {name: _first(capital >= need) for name, capital in tests.items()}
    peak = {name: float(np.max(capital, initial=0.0)) for name, capital in tests.items()}
    same = max(when["not worse"], when["not better"])
    found: dict[Word, float] = {"same": same, "worse": when["worse"], "better": when["better"]}
    logs: dict[Word, float] = {
        "same": min(peak["not worse"], peak["not better"]),
        "worse": peak["worse"],
        "better": peak["better"],
    }
    word = min(found, key=lambda k: found[k])
    low, high = _sequence(s, w, rule, bounds) if interval else (None, None)
    if math.isinf(found[word]):
        return Decision("undecided", None, _e(max(logs.values())), low, high)
    return Decision(word, int(found[word]), _e(logs[word]), low, high)


def _e(log: float) -> float:
    return math.exp(min(log, 700.0))


def _first(true: NDArray[np.bool_]) -> float:
    """How many documents until it holds."""
    return float(np.argmax(true)) + 1 if true.any() else math.inf


def _test(s: Array, w: Array, at: float, side: int, bounds: Bounds | None) -> Array:
    """log capital against R <= at (side 1) or R >= at (side -1)."""
    floor = None
    if bounds is not None:
        reach = bounds.span + side * at  # the farthest a document of weight 1 can lie on the wrong side
        if reach <= 0:
            return np.full(len(s), math.inf)  # nothing can lie there
        floor = -reach * bounds.heaviest
    return log_capital(side * (s - at * w), floor)


def _sequence(s: Array, w: Array, rule: Rule, bounds: Bounds | None) -> tuple[float | None, float | None]:
    """The values of R that no test so far has excluded at rule.level on its side."""
    need = math.log(1 / rule.level)
    if not len(s):
        return None, None
    mean = float(s.sum() / w.sum())

    def excluded(side: int) -> Callable[[float], bool]:
        return lambda at: bool(np.max(_test(s, w, at, side, bounds)) >= need)

    scale = max(rule.margin, float(np.abs(s / w - mean).max()))
    most = None if bounds is None else bounds.span
    low = _border(excluded(1), mean, -1, scale, most)
    high = _border(excluded(-1), mean, 1, scale, most)
    return low, high


def _border(excluded: Callable[[float], bool], mean: float, way: int, scale: float, most: float | None) -> float | None:
    """Where exclusion begins, going from the mean this way; the bound of the scores, or None, where it never does."""
    inside, outside = mean, None
    for _ in range(_HALVINGS):
        reach = inside + way * scale
        if most is not None and abs(reach) >= most:
            return way * most if not excluded(way * most * (1 - 1e-9)) else _halved(excluded, inside, way * most)
        if excluded(reach):
            outside = reach
            break
        inside, scale = reach, 2 * scale
    return None if outside is None else _halved(excluded, inside, outside)


def _halved(excluded: Callable[[float], bool], inside: float, outside: float) -> float:
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if excluded(middle) else (middle, outside)
    return outside


def fewest(rule: Rule, span: float | None = 1.0) -> int:
    """Documents of equal weight that 'same' needs at the least: as many as would do if none differed at all.

    span as in Bounds, with one unit of weight a document; None where bounds are learnt."""
    gain = 1 / REACH if span is None else rule.margin / max(span - rule.margin, 1e-12)
    capital, count = 0.0, 0
    while capital < 1 / rule.level:  # the mean over f in [0, 1] of (1 + f gain)^n
        count += 1
        capital = math.expm1((count + 1) * math.log1p(gain)) / ((count + 1) * gain)
    return count + (LEARNT if span is None else 0)


def first_seen(blocks: Iterable[Sequence[tuple[str, float, float]]]) -> tuple[Array, Array]:
    """Documents in the order in which they come: (sums, weights) of their (document, difference, weight) rows.

    blocks: items that were scored together. A document counts with what its first block holds of it: what comes
    later is no new draw."""
    known: set[str] = set()
    sums: list[float] = []
    weights: list[float] = []
    for block in blocks:
        mine: dict[str, tuple[float, float]] = {}
        for doc, difference, weight in block:
            if doc not in known:
                s, w = mine.get(doc, (0.0, 0.0))
                mine[doc] = s + weight * difference, w + weight
        known |= mine.keys()
        sums += [s for s, _ in mine.values()]
        weights += [w for _, w in mine.values()]
    return np.array(sums), np.array(weights)
