"""The proof: a recipe measured again in fresh processes, on items the search has not seen, against every limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...evaluation.spread import spread
from ..desk import Desk
from ..plan import DENSE, MEMORY, SPEED, make_cells
from ..records.store import Scored
from ..results.gather import flags, memory_medians
from ..results.types import Estimate
from ..workers.process_cells import process_facts
from .judge import DeskJudge
from .limits import Limit, Limits
from .types import Check, Foreseen, Point, Proof

HELD = ("held_weight_bytes", "held_kv_bytes", "held_index_bytes")
SHOWN = (*HELD, "steady_total_bytes", "peak_total_bytes")
_WHAT = {
    "kv": "keys, values and positions held, counted in a fresh process",
    "memory": "weights, cache and what the methods hold, counted in a fresh process",
    "latency": "time a generated token in a process of its own, in turns with the untouched model",
}


@dataclass
class Prover:
    """Checks recipes against limits; what was measured once is not measured again."""

    desk: Desk
    judge: DeskJudge
    limits: Limits
    failed: dict[str, str] = field(default_factory=dict)  # recipe and kind of process -> why it gave no number

    def prove(self, recipe: Foreseen) -> Proof:
        """Every limit; a fresh worker for the qualities, a fresh process for bytes and another for time."""
        checks: list[Check] = []
        point = self._scored(recipe)
        if point.stage == "failed":
            return Proof(recipe.line, (), reason=point.reason)
        checks += [self._quality(limit, point) for limit in self.limits.quality]
        beside: Mapping[str, float] = {}
        if self.limits.named("kv") or self.limits.named("memory"):
            beside, dense = self._bytes(recipe.line), self._bytes(DENSE)
            if not beside or not dense:
                return Proof(recipe.line, tuple(checks), {}, self.failed.get(f"{recipe.line} {MEMORY}", "no bytes"))
            checks += [_weighed(x, beside, dense) for x in self.limits.resources if x.name != "latency"]
        if limit := self.limits.named("latency"):
            timed = self.latency(recipe.line)
            if timed is None:
                return Proof(recipe.line, tuple(checks), beside, self.failed[f"{recipe.line} {SPEED}"])
            checks.append(_timed(limit, *timed))
        return Proof(recipe.line, tuple(checks), {n: beside[n] for n in SHOWN if n in beside})

    def _scored(self, recipe: Foreseen) -> Point:
        """On the items held out, without the documents that the search has seen a part of."""
        self.desk.close()  # workers that have measured before are not fresh
        seen = self.judge.documents(self.judge.seen)
        return self.judge.score_on([recipe], self.judge.held_out, seen)[0]

    def _quality(self, limit: Limit, point: Point) -> Check:
        """Met where the end of the interval that is worse is; where there is no interval, where the value is."""
        e = point.scores[limit.name]
        assert limit.measure is not None
        worst = e.low if limit.measure.higher else e.high
        met = limit.met(e.value if worst is None else worst)
        dense = self.judge.dense[limit.name].value
        return Check(limit.text, met, e, limit.bound, dense, f"{limit.measure.help}, on items the search has not seen")

    # --- processes ---

    def _bytes(self, line: str) -> dict[str, float]:
        """Name -> bytes of a fresh process at the context; empty where it failed."""
        return memory_medians(self._process(line, MEMORY))

    def latency(self, line: str) -> tuple[Estimate, Estimate] | None:
        """Seconds a generated token after the context, of the recipe and of the untouched model in the same race;
        None where there is no number to believe."""
        if line == DENSE:
            return self._dense_latency()
        items = self._process(line, SPEED)
        if not items or flags(items):
            self.failed.setdefault(f"{line} {SPEED}", "; ".join(flags(items)) or "its speed could not be measured")
            return None
        own, ratio = _values(items, "decode_tok_s"), _values(items, "decode_speed_ratio")
        return _seconds([1 / v for v in own]), _seconds([r / v for v, r in zip(own, ratio, strict=True)])

    def _dense_latency(self) -> tuple[Estimate, Estimate] | None:
        """Of the race against a window that nothing falls out of: a race takes two."""
        timed = self.latency(f"window(window={2 * self.limits.context})")
        return None if timed is None else (timed[1], timed[1])

    def _process(self, line: str, kind: str) -> list[Scored]:
        facts, _ = self.desk.describe([DENSE, line], [])
        tasks = {kind: process_facts(kind, self.desk.model, self.desk.threads, self.limits.context)}
        params = {"limit": None, "chunk": None}
        cells = make_cells(self.desk.conditions, facts, tasks, params, self.desk.source.data_hash)
        mine = [c for c in cells if c.key and c.recipe == line]
        self.desk.measure(mine, {name: f["line"] for name, f in facts.items()})
        for cell in mine:
            record = self.desk.store.cells([cell.key])[cell.key]
            if record.state == "done":
                return self.desk.store.items(cell.key)
            self.failed[f"{line} {kind}"] = record.error or "it failed"
        return []


def _values(items: Sequence[Scored], metric: str) -> list[float]:
    return [row.value for one in items for row in one.rows if row.metric == metric]


def _seconds(values: Sequence[float]) -> Estimate:
    s = spread(values)
    note = "" if s.coverage >= 0.95 else f"{100 * s.coverage:.0f}% interval of {s.n} repeats"
    return Estimate(s.median, s.low, s.high, "s/token", s.n, s.n, note)


def _weighed(limit: Limit, own: Mapping[str, float], dense: Mapping[str, float]) -> Check:
    """Counted, so that there is no interval."""
    names = HELD if limit.name == "memory" else ("held_kv_bytes",)
    held, whole = sum(own[n] for n in names), sum(dense[n] for n in names)
    share = limit.form == "share"
    value = held / whole if share else held
    estimate = Estimate(value, value, value, "share" if share else "bytes", 1, 1)
    return Check(limit.text, limit.met(value), estimate, limit.bound, 1.0 if share else whole, _WHAT[limit.name])


def _timed(limit: Limit, own: Estimate, dense: Estimate) -> Check:
    met = limit.met(own.value if own.high is None else own.high)
    return Check(limit.text, met, own, limit.bound, dense.value, _WHAT["latency"])
