"""A world without a model: what methods hold and lose is planted, so that the best recipe is known beforehand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from paretolm.bench.results.types import Estimate
from paretolm.bench.tune.candidates import space
from paretolm.bench.tune.halving import Search
from paretolm.bench.tune.limits import Limits, read_limits
from paretolm.bench.tune.outcome import Outcome
from paretolm.bench.tune.predict import foreseen
from paretolm.bench.tune.types import Check, Foreseen, Point, Proof, Tuned
from paretolm.recipes.source import KnobInfo, MethodInfo

CACHE, WEIGHTS = 1000.0, 4000.0


def budget(name: str = "budget") -> KnobInfo:
    return KnobInfo(name, "Budget", "25%")


def bits(*choices: int) -> KnobInfo:
    return KnobInfo("bits", "int", str(choices[0]), choices=choices)


def info(name: str, *knobs: KnobInfo, shelf: str = "keep") -> MethodInfo:
    return MethodInfo(name, shelf, f"m.{name}", name.title(), (), False, False, "", knobs)


METHODS = (
    info("evict", budget()),
    info("quant", bits(8, 4, 2), shelf="store"),
    info("shrink", bits(8, 4), shelf="weights"),
    info("draft", KnobInfo("draft", "ModelRef", "draft"), shelf="prompt"),
    info("given", KnobInfo("path", "str", None), shelf="prompt"),
    info("learnt", budget()),
    info("refused", budget()),
    info("turn", KnobInfo("scale", "float", "1.0", low=0, high=1), shelf="frequency"),
    info("ask", budget(), shelf="prompt"),
)
SLOT = {"quant": "store", "shrink": "weights", "turn": "frequency", "ask": "prompt"}


def numbers(line: str) -> dict[str, float]:
    """Method -> its number: share kept, bits."""
    found = {}
    for call in line.split(" + "):
        name, _, rest = call.partition("(")
        number = re.search(r"=([0-9.]+)", rest)
        found[name] = float(number[1]) if number else {"evict": 25.0, "quant": 8.0, "shrink": 8.0}.get(name, 1.0)
    return found


def facts(line: str) -> dict[str, Any]:
    """As workers foresee them."""
    if line == "dense":
        return {**_held(CACHE, WEIGHTS), "slots": {}}
    mine = numbers(line)
    if "refused" in mine:
        return {"conflict": "refused has no place"}
    cache = CACHE * mine.get("evict", 100) / 100 * mine.get("quant", 32) / 32 * mine.get("learnt", 100) / 100
    cache *= mine.get("ask", 100) / 100
    slots = {name: [SLOT.get(name, "keep")] for name in mine}
    unfitted = ["learnt"] if "learnt" in mine else []
    return {**_held(cache, WEIGHTS * mine.get("shrink", 32) / 32), "slots": slots, "unfitted": unfitted}


def _held(cache: float, weights: float) -> dict[str, Any]:
    exact = {"kv": [cache, cache], "weights": [weights, weights], "index": [0.0, 0.0]}
    return {**exact, "passes": 1.0, "exact": [], "unfitted": []}


def ask(lines: Sequence[str]) -> list[dict[str, Any]]:
    return [facts(line) for line in lines]


def planted_kl(line: str) -> float:
    """Eviction costs much, few bits more than many; losses add up."""
    mine = numbers(line)
    lost = {8: 0.001, 4: 0.01, 2: 0.2}
    found = 0.1 * (1 - mine["evict"] / 100) ** 2 if "evict" in mine else 0.0
    return found + sum(lost[int(mine[name])] for name in ("quant", "shrink") if name in mine)


@dataclass
class Planted:
    """A judge that knows the truth, with intervals that get narrower by the rung."""

    width: Sequence[float] = (0.02, 0.01, 0.002)
    failing: tuple[str, ...] = ()
    asked: list[tuple[str, int]] = field(default_factory=list)
    base: dict[str, float] = field(default_factory=lambda: {"kl": 0.0})

    def score(self, recipes: Sequence[Foreseen], rung: int) -> list[Point]:
        self.asked += [(f.line, rung) for f in recipes]
        return [self._point(f, rung) for f in recipes]

    def _point(self, f: Foreseen, rung: int) -> Point:
        if f.line in self.failing:
            return Point(f, {}, "failed", "it broke", rung)
        kl, half = (0.0, 0.0) if f.line == "dense" else (planted_kl(f.line), self.width[rung])
        e = Estimate(kl, max(0.0, kl - half), kl + half, "nats/token", 1 + rung, 10)
        return Point(f, {"kl": e}, "scored", "", 1 + rung)


DENSE = foreseen("dense", facts("dense"))


def limits(**given: Any) -> Limits:
    return read_limits(1000, **given)


def search(judge: Planted, wanted: Limits, seed: int = 0) -> Search:
    return Search(wanted, wanted.quality, DENSE, ask, judge, seed)


def tuned(share: str = "12%", kl: str = "kl<0.05", line: str = "window(window=64) + kv-quant(bits=4)") -> Tuned:
    """What a search on planted methods found, with a proof that counts what was planted; line: what the best one is
    called, for a recipe file must be readable."""
    wanted = limits(kv=share, quality=[kl])
    made = search(Planted(), wanted)
    parts = space(ask, wanted, DENSE, {"keep", "store", "weights", "frequency"}, METHODS)
    points = made.run(parts.parts)
    outcome = Outcome(made, points)
    winner = next(iter(outcome.feasible()), None)
    proofs, named = tuple[Proof, ...](), tuple(points)
    if winner is not None:
        named = tuple(replace(p, foreseen=replace(p.foreseen, line=line)) if p is winner else p for p in points)
        held = winner.foreseen.kv[0] / CACHE
        checks = (
            Check(kl, True, winner.scores["kl"], wanted.quality[0].bound, 0.0, "divergence"),
            Check(f"--kv {share}", True, Estimate(held, held, held, "share", 1, 1), 0.12, 1.0, "counted"),
        )
        proofs = (Proof(line, checks, {"held_kv_bytes": winner.foreseen.kv[0]}),)
    return Tuned(
        model="planted",
        text="<b>text</b>",
        context=1000,
        trained_length=500,
        limits=wanted.all,
        watched=wanted.quality,
        dense=DENSE,
        dense_scores={},
        best=proofs[0] if proofs else None,
        proofs=proofs,
        binds="" if proofs else outcome.binds(()),
        nearest=None if proofs else outcome.nearest(),
        relaxed=() if proofs else outcome.relaxed(),
        points=named,
        left_out=parts.left,
        counts={**made.counts, "items": 6, "held out": 6},
        notes=("a note",),
        conditions={"device": "cpu", "threads": 1, "dtype": "float32", "attention": "sdpa", "seed": 0},
        machine={"cpu": "a <cpu>"},
        seed=0,
        computed=10,
        reused=0,
        seconds=1.0,
        store="results.sqlite",
    )
