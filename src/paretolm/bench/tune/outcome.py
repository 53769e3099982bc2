"""What comes of a search: which recipes meet the limits, or which limit binds and what comes nearest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..report.text import digits, size
from .halving import Search
from .limits import Limit
from .predict import taken
from .types import Foreseen, Point, Proof, Relaxed


@dataclass
class Outcome:
    """Of a search that has ended. points: with what was measured of speed, too."""

    search: Search
    points: Sequence[Point]

    def feasible(self) -> list[Point]:
        """Recipes that meet every limit on all items of the search, the best first; those whose bytes are not certain
        come after those whose are."""
        return [p for p in self._ranked() if all(self._met(limit, p) for limit in self.search.limits.all)]

    def nearest(self) -> Point | None:
        return next(iter(self._ranked()), None)

    def _ranked(self) -> list[Point]:
        known = [p for p in self.points if p.stage == "ranked"]
        return sorted(known, key=lambda p: (self._missed(p), self.search.key(p)))

    def _missed(self, p: Point) -> float:
        return max(
            1.0,
            self.search.key(p)[0],
            *(limit.used(v) for limit in self.search.limits.all if (v := self.value(limit, p)) is not None),
        )

    def _met(self, limit: Limit, p: Point) -> bool:
        """Bytes at the low end of what is predicted: the proof counts them."""
        if limit.measure or limit.name in p.scores:
            return limit.name in p.scores and limit.met(p.scores[limit.name].value)
        return limit.met(taken(limit, p.foreseen, self.search.dense)[0])

    def value(self, limit: Limit, p: Point) -> float | None:
        """What the limit is held against: measured, or predicted at the high end."""
        if limit.name in p.scores:
            return p.scores[limit.name].value
        if limit.measure:
            return None
        low, high = taken(limit, p.foreseen, self.search.dense)
        return low if high is None else high

    # --- what is in the way ---

    def relaxed(self) -> tuple[Relaxed, ...]:
        """Of each limit alone the value at which a recipe that was ranked would meet all the others."""
        found = []
        for limit in self.search.limits.all:
            others = [o for o in self.search.limits.all if o is not limit]
            fit = [p for p in self.points if p.stage == "ranked" and all(self._met(o, p) for o in others)]
            known = [(limit.used(v), v, p.line) for p in fit if (v := self.value(limit, p)) is not None]
            if known and min(known)[0] > 1:
                _, value, line = min(known)
                found.append(Relaxed(limit.name, value, line))
        return tuple(found)

    def binds(self, proofs: Sequence[Proof]) -> str:
        """A sentence on the limit that is in the way."""
        for limit in self.search.limits.resources:
            least, recipe = self._least(limit)
            if not limit.met(least):
                told = f"the least that any of {len(self.search.looked_at):,} recipes is predicted to take is {shown(limit, least)}"
                return f"{limit.text} binds: {told} ({recipe.line}), whatever its quality"
        for limit in self.search.limits.quality:
            best = self._best(limit)
            if best is not None and not limit.met(best[0]):
                return f"{limit.text} binds: the best of the recipes scored has {shown(limit, best[0])} ({best[1]}), whatever it holds"
        if proofs:
            return " ".join(_failed(proof) for proof in proofs[:1])
        easiest = min(self.relaxed(), key=lambda r: self._limit(r.limit).used(r.needs), default=None)
        if easiest is None:
            return "no recipe meets the limits together, and none meets all but one of them"
        limit = self._limit(easiest.limit)
        return f"{limit.text} binds: with the other limits met, the least is {shown(limit, easiest.needs)} ({easiest.line})"

    def _limit(self, name: str) -> Limit:
        found = self.search.limits.named(name)
        assert found is not None
        return found

    def _least(self, limit: Limit) -> tuple[float, Foreseen]:
        dense = self.search.dense
        recipe = min(self.search.looked_at, key=lambda f: taken(limit, f, dense)[0])
        return taken(limit, recipe, dense)[0], recipe

    def _best(self, limit: Limit) -> tuple[float, str] | None:
        known = [(limit.used(p.scores[limit.name].value), p) for p in self.points if limit.name in p.scores]
        if not known:
            return None
        best = min(known, key=lambda one: (one[0], one[1].line))[1]
        return best.scores[limit.name].value, best.line


def _failed(proof: Proof) -> str:
    if proof.reason:
        return f"the proof of {proof.line} failed: {proof.reason}"
    missed = next(check for check in proof.checks if not check.met)
    e = missed.estimate
    span = "" if e.low is None or e.low == e.high else f" [{digits(e.low)}, {digits(e.high or e.low)}]"
    return (
        f"{missed.limit} binds: {proof.line} met it in the search, and on items held out it has "
        f"{digits(e.value)}{span} {e.unit}".rstrip()
    )


def shown(limit: Limit, value: float) -> str:
    """A value in the unit of the limit."""
    return f"{bare(limit, value)} {unit(limit)}".rstrip()


def bare(limit: Limit, value: float) -> str:
    """The same without a unit that is a word."""
    if limit.name == "latency":
        return digits(1000 * value)
    if limit.form == "factor":
        return f"{digits(value, 4)}x"
    if limit.form == "share" or (limit.measure and limit.measure.higher):
        return f"{digits(100 * value)}%"
    return size(value) if limit.measure is None else digits(value)


def unit(limit: Limit) -> str:
    """Of a column; empty where the values carry it."""
    if limit.name == "latency":
        return "ms/token"
    return limit.measure.unit if limit.measure and not limit.measure.higher and limit.form == "absolute" else ""


def heading(limit: Limit) -> str:
    """'kl, nats/token'."""
    return ", ".join(word for word in (limit.name, unit(limit)) if word)


def span(limit: Limit, low: float | None, high: float | None) -> str:
    """'[low, high]' in that unit; empty without an interval, or where it is a point."""
    return "" if low is None or high is None or low == high else f"[{bare(limit, low)}, {bare(limit, high)}]"
