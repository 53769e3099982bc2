"""tune: the best recipe within limits, with a proof; or the limit that binds and what comes nearest."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...evaluation.machine import machine
from ..desk import Desk, Request
from ..plan import DENSE
from ..progress import Progress
from ..records.keys import PACKAGE, code_hashes, digest, file_hash
from ..records.store import Store
from ..sweep import Sweep
from ..workers.turns import turn
from .candidates import Space, space
from .halving import Search
from .judge import RUNGS, DeskJudge, task_line
from .limits import Limit, Limits, read_limits
from .outcome import Outcome
from .predict import foreseen
from .proof import Prover
from .rung_progress import RungProgress
from .types import Point, Proof, Tuned

PROOFS = 3  # recipes that are tried before the search gives up
_FORESEEN = PACKAGE / "bench/workers/foreseen.py"
RACED = 4  # whose speed is measured
_NO_LIMIT = Limit("kl", "kl", math.inf)  # what recipes are ranked by where no quality is limited


@dataclass(frozen=True)
class Asked:
    """A search as it was asked for. time_s: after so many seconds no further recipes are taken up."""

    request: Request
    context: str | int | None = None
    memory: str | None = None
    kv: str | None = None
    latency: str | None = None
    quality: tuple[str, ...] = ()
    time_s: float | None = None

    def limits(self, trained: int) -> Limits:
        return read_limits(self.context, self.memory, self.kv, self.latency, self.quality, trained=trained)


def tune(
    model: str | Path = "reference",
    *,
    memory: str | None = None,
    kv: str | None = None,
    latency: str | None = None,
    quality: Sequence[str] = (),
    context: str | int | None = None,
    text: str | Path | None = None,
    output: str | Path = ".paretolm",
    device: str = "cpu",
    dtype: str | None = None,
    attention: str | None = None,
    threads: int | None = None,
    seed: int = 0,
    seconds: float | None = None,
    workers: str | int | None = None,
    progress: Progress | None = None,
) -> Tuned:
    """Searches recipes of all shelves for the best one within limits.

    memory: weights, cache and what methods hold ('2GiB', or '50%' of the untouched model's); kv: the cache alone
    ('25%', '64MiB'); latency: a generated token ('80ms/token', '12tok/s'); quality: 'kl<0.02', 'ppl<1.05x', 'top1>98%',
    'recall>0.9'. All at a context of so many tokens ('32k'), by itself the trained length. With a limit on bytes or time
    the best recipe is that of the best quality (the first of `quality`, or KL); with none, that of the fewest bytes.
    output: where results are kept; what is there is not measured again. seconds: after so many no further recipes are
    taken up. The others as in `compare`.

    Raises UserError for what was asked wrongly; that nothing meets the limits is a result.
    """
    path, crew = None if text is None else str(text), None if workers is None else str(workers)
    request = Request(
        str(model), (), (), path, Path(output), device, dtype, attention, threads, seed, sweep=Sweep(), workers=crew
    )
    wanted = (quality,) if isinstance(quality, str) else tuple(quality)
    return run(Asked(request, context, memory, kv, latency, wanted, seconds), progress or Progress())


def run(asked: Asked, progress: Progress) -> Tuned:
    """`tune` of a request."""
    began = time.monotonic()
    asked.limits(64)  # what cannot be read is said before anything is loaded
    if asked.time_s is not None and not asked.time_s > 0:
        raise UserError(f"--time is {asked.time_s:g}; it must be above 0 seconds")
    with Store(asked.request.store_path) as store:
        desk = Desk(asked.request, store, RungProgress(progress))
        try:
            with progress.showing():
                return _Tuning(asked, desk, began).run()
        finally:
            desk.close()


class _Tuning:
    """One search at work on a desk."""

    def __init__(self, asked: Asked, desk: Desk, began: float) -> None:
        self.asked, self.desk, self.began = asked, desk, began
        self.trained = int(desk.model["trained_length"])
        self.limits = asked.limits(self.trained)
        self.watched = self.limits.quality or (_NO_LIMIT,)
        self.bandwidth = self._bandwidth() if self.limits.named("latency") else None

    def run(self) -> Tuned:
        tasks = {
            w.measure.task: task_line(w.measure.task, self.limits.context, self.trained)
            for w in self.watched
            if w.measure
        }
        judge = DeskJudge(self.desk, self.watched, tasks)
        dense = foreseen(DENSE, self.foresee([DENSE])[0])
        self.desk.progress.note("looking at what every method would hold")
        found = space(self.foresee, self.limits, dense, judge.sees)
        search = Search(
            self.limits, self.watched, dense, self.foresee, judge, self.desk.request.seed, len(RUNGS), self._late
        )
        points = search.run(found.parts)
        scores = dict(judge.dense)
        prover = Prover(self.desk, judge, self.limits)
        outcome = Outcome(search, self._raced(search, points, prover))
        proofs = self._proofs(outcome, prover)
        run_id = self.desk.store.start_run(
            {"model": self.desk.request.model, "tune": str(self.limits), "cells": sorted(judge.cells)}
        )
        self.desk.store.finish_run(run_id)
        return self._tuned(search, outcome, found, proofs, scores, judge)

    # --- predictions ---

    def foresee(self, recipes: Sequence[str]) -> list[dict[str, Any]]:
        """What a worker foresees of each; kept, but for what may be fitted meanwhile."""
        ask: dict[str, Any] = {"recipes": list(recipes), "tokens": self.limits.context}
        text = digest(
            {**ask, "code": code_hashes(sorted((PACKAGE / "methods").rglob("*.py"))), "by": file_hash(_FORESEEN)}
        )
        found = self.desk.ask_once("foresee", text, **ask)
        if any(facts.get("unfitted") for facts in found):
            found = self.desk.crew.ask(do="foresee", **ask)
        if self.bandwidth:
            for facts in found:
                if "weights" in facts:
                    facts["least_s"] = facts["passes"] * facts["weights"][0] / self.bandwidth(facts["weights"][0])
        return list(found)

    def _bandwidth(self) -> Callable[[float], float]:
        """Bytes a second that this machine's memory delivers of a working set."""
        from ...evaluation.roofline import load_roofline

        with turn(alone=True):
            return load_roofline(self.desk.threads, self.desk.request.device).bandwidth_at

    def _late(self) -> bool:
        return self.asked.time_s is not None and time.monotonic() - self.began > self.asked.time_s

    # --- the end ---

    def _raced(self, search: Search, points: list[Point], prover: Prover) -> list[Point]:
        """Speed, where it is limited, of the few that meet every other limit, the best first."""
        if not self.limits.named("latency"):
            return points
        hopeful = [p.line for p in Outcome(search, points).feasible()][:RACED]
        timed = {line: known[0] for line in hopeful if (known := prover.latency(line))}
        found = [replace(p, scores={**p.scores, "latency": timed[p.line]}) if p.line in timed else p for p in points]
        return [
            replace(p, stage="failed", reason=prover.failed.get(f"{p.line} speed", "its speed was not measured"))
            if p.line in hopeful and p.line not in timed
            else p
            for p in found
        ]

    def _proofs(self, outcome: Outcome, prover: Prover) -> list[Proof]:
        """Until one meets every limit."""
        proofs: list[Proof] = []
        for point in outcome.feasible()[:PROOFS]:
            if self.limits.named("latency") and "latency" not in point.scores:
                continue
            self.desk.progress.note(f"proof: {point.line}")
            proofs.append(prover.prove(point.foreseen))
            if proofs[-1].met:
                break
        return proofs

    def _tuned(
        self,
        search: Search,
        outcome: Outcome,
        found: Space,
        proofs: Sequence[Proof],
        scores: dict[str, Any],
        judge: DeskJudge,
    ) -> Tuned:
        best = next((proof for proof in proofs if proof.met), None)
        desk = self.desk
        return Tuned(
            model=desk.request.model,
            text=desk.source.name if desk.request.text else "the embedded text",
            context=self.limits.context,
            trained_length=self.trained,
            limits=self.limits.all,
            watched=self.watched,
            dense=search.dense,
            dense_scores=scores,
            best=best,
            proofs=tuple(proofs),
            binds="" if best else outcome.binds(proofs),
            nearest=None if best else outcome.nearest(),
            relaxed=() if best else outcome.relaxed(),
            points=tuple(outcome.points),
            left_out=found.left,
            counts={
                **search.counts,
                "items": sum(map(len, judge.seen.values())),
                "held out": sum(map(len, judge.held_out.values())),
            },
            notes=(*desk.source.notes, *Sweep(context=self.limits.context).doubts(self.trained), *search.cut),
            computed=len(judge.new),
            reused=len(judge.old),
            seconds=round(time.monotonic() - self.began, 3),
            store=str(desk.request.store_path),
            **self._circumstances(),
        )

    def _circumstances(self) -> dict[str, Any]:
        """What a number depends on."""
        known, model = self.desk.conditions, self.desk.model
        force = {"dtype": model["dtype"], "attention": model["attention"], "threads": self.desk.threads}
        return {
            "conditions": {"device": known.device, **force, "seed": known.seed},
            "machine": machine().as_json(),
            "seed": known.seed,
            "versions": {**known.versions, "paretolm": version("paretolm")},
        }
