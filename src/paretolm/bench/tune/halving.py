"""The search itself: singles first, then the combinations that should lose least, then fewer and fewer on more items.

Successive halving (Jamieson and Talwalkar 2016): every rung scores its recipes on more items than the one before and
lets the best of them go on. Items are the same for all, and each recipe is held against the untouched model item by
item; one whose interval lies beyond a quality limit as a whole is stopped. Knows no model: `Judge` scores, `Ask` predicts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from .candidates import extended, joined
from .limits import Limit, Limits
from .predict import Ask, added_up, foreseen, loss, possible, quality_used, resources_used
from .types import Foreseen, Point

COMBINED = 3  # methods of a combination at most
BEAM = 160  # combinations of one size that are extended by a further method
LOOKED_AT = 1200  # combinations of one size whose bytes are predicted
TRIED = 24  # combinations that are scored
ALIKE = 4  # of them with the same methods, so that other families have their turn
GO_ON = (10, 4)  # recipes that reach the second rung, and the last
FRONT = 4  # beside them: those that nothing else beats in both bytes and quality


class Judge(Protocol):
    """Scores recipes on the items of a rung; the same call again costs nothing."""

    @property
    def base(self) -> Mapping[str, float]:
        """The untouched model's value of each quality."""
        ...

    def score(self, recipes: Sequence[Foreseen], rung: int) -> list[Point]: ...


@dataclass
class Search:
    """rungs: how many there are; late: whether the time is up, asked between rungs."""

    limits: Limits
    watched: Sequence[Limit]
    dense: Foreseen
    ask: Ask
    judge: Judge
    seed: int = 0
    rungs: int = 3
    late: Callable[[], bool] = lambda: False
    points: dict[str, Point] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    looked_at: list[Foreseen] = field(default_factory=list)  # all whose bytes are predicted
    cut: tuple[str, ...] = ()  # a sentence where the time was up

    def run(self, parts: Sequence[Foreseen]) -> list[Point]:
        """All recipes that were scored; those at stage 'ranked' have seen every item. The untouched model is one."""
        singles = self._scored([self.dense, *_shuffled(parts, self.seed)], 0)
        self.counts["singles"] = len(parts)
        self.looked_at = [self.dense, *parts]
        combined = self._combinations([p for p in singles if p.stage == "scored" and p.line != self.dense.line])
        if not any(possible(self.limits, f, self.dense) for f in self.looked_at):
            self.looked_at += self._lightest(parts)
        if self.late():
            self.cut = ("The time was up: combinations were not scored, and one recipe went on to the end.",)
        elif combined:
            self._scored(combined, 0)
        for rung in range(1, self.rungs):
            last = rung == self.rungs - 1
            most = 1 if self.late() else GO_ON[min(rung, len(GO_ON)) - 1]
            if self.late() and not self.cut:
                self.cut = ("The time was up: fewer recipes than usual went on to all items.",)
            if not self.late() or last:
                self._scored(self._going_on(most), rung)
        return self._ended()

    def _scored(self, recipes: Sequence[Foreseen], rung: int) -> list[Point]:
        found = self.judge.score(recipes, rung)
        last = rung == self.rungs - 1
        for p in found:
            stage = "stopped" if p.stage == "scored" and not last and self._beyond(p) else p.stage
            self.points[p.line] = replace(p, stage="ranked" if last and stage == "scored" else stage)
        self.counts[f"rung {rung + 1}"] = self.counts.get(f"rung {rung + 1}", 0) + len(found)
        return [self.points[p.line] for p in found]

    def _beyond(self, p: Point) -> bool:
        """Whether the interval of a quality lies beyond its limit as a whole."""
        for limit in self.limits.quality:
            e = p.scores[limit.name]
            best = e.high if limit.measure and limit.measure.higher else e.low
            if best is not None and e.low != e.high and not limit.met(best):
                return True
        return False

    # --- combinations ---

    def _combinations(self, singles: Sequence[Point]) -> list[Foreseen]:
        """Those expected to meet the limits at the least loss, few of the same methods."""
        values = {p.line: _values(p) for p in singles}
        parts = [p.foreseen for p in singles]
        level: list[tuple[Foreseen, ...]] = [(part,) for part in parts]
        found: list[tuple[tuple[float, float], Foreseen]] = []
        for _ in range(COMBINED - 1):
            level, ranked = self._next(level, parts, values)
            found += ranked
            if not level:
                break
        self.counts["combinations"] = len(found)
        self.looked_at += [recipe for _, recipe in found]
        chosen: list[Foreseen] = []
        for _, recipe in sorted(found, key=lambda one: one[0]):
            alike = sum(set(c.methods) == set(recipe.methods) for c in chosen)
            if alike < ALIKE and len(chosen) < TRIED:
                chosen.append(recipe)
        return chosen

    def _next(
        self,
        level: Sequence[tuple[Foreseen, ...]],
        parts: Sequence[Foreseen],
        values: Mapping[str, Mapping[str, float]],
    ) -> tuple[list[tuple[Foreseen, ...]], list[tuple[tuple[float, float], Foreseen]]]:
        """(combinations of one method more that stand, best first and not too many; the same with what is expected)."""
        base = self.judge.base
        pairs = [(c, added_up([values[f.line] for f in c], base, self.watched)) for c in extended(level, parts)]
        near = sorted(pairs, key=lambda pair: self._key(pair[1], 0.0, 0.0))[:LOOKED_AT]
        told = self.ask([joined(c) for c, _ in near]) if near else []
        standing = []
        for (c, expected), facts in zip(near, told, strict=True):
            if "kv" in facts and not facts["unfitted"]:
                made = foreseen(joined(c), facts)
                if self._worth_it(made, c):
                    used = resources_used(self.limits, made, self.dense)
                    standing.append((self._key(expected, used, made.most("memory")), made, c))
        standing.sort(key=lambda one: one[0])
        return [c for _, _, c in standing[:BEAM]], [(key, made) for key, made, _ in standing]

    def _lightest(self, parts: Sequence[Foreseen]) -> list[Foreseen]:
        """What the lightest of every method would hold together, however much it lost: the least there is."""
        least: dict[str, Foreseen] = {}
        for part in sorted(parts, key=lambda f: (-f.bytes(self.axis)[0], f.line)):
            least[part.methods[0]] = part
        level: list[tuple[Foreseen, ...]] = [(part,) for part in least.values()]
        found: list[Foreseen] = []
        for _ in range(COMBINED - 1):
            level = extended(level, list(least.values()))[:LOOKED_AT]
            lines = [joined(c) for c in level]
            told = zip(lines, self.ask(lines) if lines else [], strict=True)
            found += [foreseen(line, facts) for line, facts in told if "kv" in facts]
        return found

    def _worth_it(self, made: Foreseen, parts: Sequence[Foreseen]) -> bool:
        """Whether every part saves something in the company of the others, where it is not there for speed."""
        if self.limits.named("latency"):
            return True
        return all(made.total[0] < 0.999 * part.total[0] for part in parts)

    # --- ranks ---

    def _key(self, values: Mapping[str, float], used: float, held: float) -> tuple[float, float]:
        """Less is better: first by how far limits are missed, then by what the search is for."""
        missed = max(1.0, used, quality_used(self.watched, values))
        return missed, held if not self.limits.resources else loss(self.watched[0], values[self.watched[0].name])

    def key(self, p: Point) -> tuple[float, float]:
        used = resources_used(self.limits, p.foreseen, self.dense)
        return self._key(_values(p), used, p.foreseen.most("memory"))

    def _going_on(self, most: int) -> list[Foreseen]:
        alive = [p for p in self.points.values() if p.stage == "scored"]
        hopeful = [p for p in alive if possible(self.limits, p.foreseen, self.dense)] or alive
        hopeful = hopeful or [p for p in self.points.values() if p.stage == "stopped"]
        best = sorted(hopeful, key=self.key)[:most]
        beside = sorted((p for p in front(alive, self.watched[0], self.axis) if p not in best), key=self.key)[:FRONT]
        dense = [self.dense] if all(p.line != self.dense.line for p in (*best, *beside)) else []
        return [*(p.foreseen for p in (*best, *beside)), *dense]

    @property
    def axis(self) -> str:
        return axis_of(self.limits)

    def _ended(self) -> list[Point]:
        ranked = [p for p in self.points.values() if p.stage == "ranked"]
        on = {p.line for p in front(ranked, self.watched[0], self.axis)}
        return [replace(p, on_frontier=p.line in on) for p in self.points.values()]


def axis_of(limits: Limits) -> str:
    """Which bytes recipes are set against: the cache's where it is limited, else all."""
    return "kv" if limits.named("kv") and not limits.named("memory") else "memory"


def front(points: Collection[Point], quality: Limit, axis: str) -> list[Point]:
    """Those that no other beats in both bytes and quality."""
    from ..results.frontier import frontier

    listed = list(points)
    places = [(p.foreseen.most(axis), loss(quality, p.scores[quality.name].value)) for p in listed]
    return [listed[i] for i in frontier(places)]


def _values(p: Point) -> dict[str, float]:
    return {name: e.value for name, e in p.scores.items()}


def _shuffled(parts: Sequence[Foreseen], seed: int) -> list[Foreseen]:
    """Where scores are equal, the order decides: by the seed."""
    found = sorted(parts, key=lambda f: f.line)
    random.Random(seed).shuffle(found)
    return found
