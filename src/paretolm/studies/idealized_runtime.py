"""What a request takes on this machine when nothing else runs, foretold from ten timed runs, for models side by side.

Narayanan et al. 2023 (2305.02440); evaluation/idealized_runtime.py says where this leaves the paper. Models are timed
by their shape, so that depths nobody trained stand beside those that were.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..bench.workers.turns import turn
from ..contracts import knob
from ..errors import UserError
from ..evaluation.forked import run_forked
from ..evaluation.idealized_runtime import (
    MOST_RUNS,
    RuntimeModel,
    fit,
    fitting_requests,
    roofline_seconds,
    timed,
    unseen_requests,
)
from ..evaluation.machine import machine
from ..evaluation.roofline import Shape, decode_ceiling, load_roofline, prefill_ceiling
from .study import Column, Figure, Findings, Line, Number, Place, Study, Table, Value

_CHUNK = 512  # tokens of a prompt read in one forward
_CLOCK, _PROCESSOR = 0, 1  # in what a run tells


@dataclass(frozen=True)
class Subject:
    """A model, or the first one with another number of layers."""

    name: str
    model: str
    layers: int | None = None


@dataclass(frozen=True)
class Timing:
    """One model. unseen: request -> its repeats in seconds of the clock, and alone; roofline: least seconds."""

    subject: Subject
    parameters: int
    model: RuntimeModel
    unseen: Mapping[tuple[int, int], tuple[list[float], list[float]]]
    roofline: Mapping[tuple[int, int], float]

    def measured(self, request: tuple[int, int]) -> float:
        return statistics.median(self.unseen[request][_CLOCK])

    def alone(self, request: tuple[int, int]) -> float:
        return statistics.median(self.unseen[request][_PROCESSOR])

    def foretold(self, request: tuple[int, int]) -> float:
        return self.model.seconds(*request)

    def errors(self, clock: int = _PROCESSOR) -> list[float]:
        """Percent, one an unseen request: foretold over the median of its repeats, less 1."""
        return [100 * (self.foretold(r) / statistics.median(runs[clock]) - 1) for r, runs in self.unseen.items()]


@dataclass(frozen=True, kw_only=True)
class IdealizedRuntime(Study):
    papers: ClassVar[tuple[str, ...]] = ("2305.02440",)

    runs: int = knob(10, low=4, high=MOST_RUNS, help="timed runs that a model is fitted to")
    output: int = knob(48, low=4, help="output tokens of the longest of these runs")
    unseen: int = knob(6, low=2, help="requests of other lengths that are foretold")
    repeats: int = knob(3, low=1, help="times each of these is run")
    threads: int = knob(1, low=1, help="of the processor; with one the time without contention can be read off it")
    layers: str = knob("", help="depths timed beside the models, random weights in the first one's shape: 12,24")

    def sources(self) -> tuple[str, ...]:
        files = ("idealized_runtime.py", "arms.py", "roofline.py", "forked.py")
        return (*super().sources(), *(f"evaluation/{name}" for name in files), "contracts", "bridge", "recipes")

    def run(self, at: Place) -> Findings:
        subjects = [Subject(m, m) for m in at.models]
        subjects += [Subject(f"{at.models[0]}, {n} layers", at.models[0], n) for n in self._depths()]
        found = [self._timing(at, subject) for subject in subjects]
        alone = self._alone(at)
        return Findings(
            tables=(_comparison(found), _requests(found)),
            figures=(_figure(found),),
            numbers=_numbers(found, self.seed),
            notes=(
                f"Each model is fitted to {self.runs} runs and foretells {self.unseen} requests of other lengths, run "
                f"{self.repeats} times each, all in random order in one process with {self.threads} thread(s).",
                "Idealized: foretold by the fit. "
                + (
                    "Alone: processor seconds of the one thread, which others on the machine do not add to."
                    if alone
                    else "Alone: the clock, as more than one thread or a device works; run it on a calm machine."
                ),
                "Measured: the clock as it was; its ratio to idealized is what others on this machine cost.",
                "Roofline: the least time that memory bandwidth and arithmetic allow for the same bytes and FLOPs.",
            ),
            rows=[
                {"model": t.subject.name, "prompt": r[0], "output": r[1], "clock_s": runs[0], "alone_s": runs[1]}
                for t in found
                for r, runs in t.unseen.items()
            ],
        )

    def _depths(self) -> list[int]:
        words = [word.strip() for word in self.layers.split(",") if word.strip()]
        if any(not word.isdigit() or int(word) < 1 for word in words):
            raise UserError(f"layers={self.layers!r} is no list of layer counts; write it as layers='12,24'")
        return [int(word) for word in words]

    def _alone(self, at: Place) -> bool:
        return self.threads == 1 and str(at.options.get("device") or "cpu") == "cpu"

    def _timing(self, at: Place, subject: Subject) -> Timing:
        room = int(at.once(self, {"trained length of": at.content(subject.model)}, lambda: _room(at, subject.model)))
        if room < 4 * self.output:
            raise UserError(
                f"{subject.model} reads {room} tokens; with output={self.output} it needs {4 * self.output}: "
                "give a smaller output"
            )
        fitted = fitting_requests(room, self.output, self.runs)
        unseen = unseen_requests(fitted, room, self.output, self.unseen, self.seed)
        order = fitted + unseen * self.repeats
        turns = list(range(len(order)))
        random.Random(self.seed).shuffle(turns)  # so that a busy minute meets both
        told = self._times(at, subject, [order[i] for i in turns])
        runs = dict(zip(turns, told["runs"], strict=True))
        clock = _PROCESSOR if self._alone(at) else _CLOCK
        model = fit(timed(fitted, [runs[i][clock] for i in range(len(fitted))]))
        places = {r: [i for i in turns if i >= len(fitted) and order[i] == r] for r in unseen}
        seconds = {r: ([runs[i][_CLOCK][1] for i in p], [runs[i][clock][1] for i in p]) for r, p in places.items()}
        ceilings = self._ceilings(at, told["shape"])
        least = {r: roofline_seconds(r, ceilings) for r in unseen}
        return Timing(subject, int(told["parameters"]), model, seconds, least)

    def _times(self, at: Place, subject: Subject, requests: Sequence[tuple[int, int]]) -> dict[str, Any]:
        unit = {
            "model": at.content(subject.model),
            "layers": subject.layers,
            "machine": machine().hash,
            "requests": [list(r) for r in requests],
        }
        job = {
            "model": subject.model,
            "load_options": dict(at.options),
            "requests": unit["requests"],
            "layers": subject.layers,
            "chunk": _CHUNK,
            "seed": self.seed,
        }

        def work() -> Any:
            at.progress.note(f"{subject.name}: {len(requests)} runs, nothing else of ours runs meanwhile")
            with turn(alone=True, waiting=lambda: at.progress.note("another paretolm measures here; waiting for it")):
                return run_forked("paretolm.evaluation.idealized_runtime:time_job", job, threads=self.threads)

        found: dict[str, Any] = at.once(self, unit, work)
        return found

    def _ceilings(self, at: Place, shape: Mapping[str, Any]) -> dict[str, float]:
        roofline = load_roofline(self.threads, str(at.options.get("device") or "cpu"))
        least = Shape(shape["weight_bytes"], 0, shape["flops_per_token"], shape["dtype"])
        return {"decode_tok_s": decode_ceiling(roofline, least), "prefill_tok_s": prefill_ceiling(roofline, least)}


def _room(at: Place, model: str) -> int:
    return at.load(model).view.trained_length


def _comparison(found: Sequence[Timing]) -> Table:
    """One row a model: means over the unseen requests."""
    rows = []
    for t in found:
        measured, ideal = (statistics.mean(f(r) for r in t.unseen) for f in (t.measured, t.foretold))
        least = statistics.mean(t.roofline.values())
        longest = t.model.knots[-1]
        error = max(map(abs, t.errors()))
        row: tuple[Value, ...] = (
            t.subject.name, t.parameters / 1e6, measured, ideal, measured / ideal, least, error,
            max(map(abs, t.errors(_CLOCK))), 1000 * longest[1] / longest[0], 1000 * t.model.token_seconds(0),
            1e6 * t.model.growth,
        )  # fmt: skip
        rows.append(row)
    columns = (
        Column("model"),
        Column("parameters", "M", ".1f"),
        Column("measured", "s", help="mean over the unseen requests, the median of the repeats of each"),
        Column("idealized", "s", help="foretold for the same requests"),
        Column("ratio", "x", ".2f", "measured over idealized"),
        Column("roofline", "s", help="least time this machine's bandwidth and arithmetic allow"),
        Column("largest error", "%", ".1f", "of an unseen request, run alone"),
        Column("by the clock", "%", ".1f", "the same against the clock, others on the machine included"),
        Column("prompt token", "ms", ".3f", "of the longest prompt fitted"),
        Column("output token", "ms", ".2f", "with nothing to read back"),
        Column("growth", "µs", ".2f", "of an output token for each token of context"),
    )
    return Table("Models, on this machine", columns, tuple(rows))


def _requests(found: Sequence[Timing]) -> Table:
    rows: list[tuple[Value, ...]] = [
        (t.subject.name, *r, t.measured(r), t.alone(r), t.foretold(r), error, t.roofline[r])
        for t in found
        for r, error in zip(t.unseen, t.errors(), strict=True)
    ]
    columns = (
        Column("model"),
        Column("prompt", "tokens"),
        Column("output", "tokens"),
        Column("measured", "s", help="the clock, median of the repeats"),
        Column("alone", "s", help="without contention"),
        Column("idealized", "s", help="foretold"),
        Column("error", "%", "+.1f", "idealized over alone, less 1"),
        Column("roofline", "s"),
    )
    return Table("Requests that no fit has seen", columns, tuple(rows))


def _figure(found: Sequence[Timing]) -> Figure:
    lines = [
        Line(t.subject.name, tuple(map(t.alone, t.unseen)), tuple(map(t.foretold, t.unseen)), points=True)
        for t in found
    ]
    ends = [x for line in lines for x in line.x]
    lines.append(Line("equal", (min(ends), max(ends)), (min(ends), max(ends))))
    return Figure("Foretold and measured", "alone, s", "idealized, s", tuple(lines), log_x=True, log_y=True)


def _numbers(found: Sequence[Timing], seed: int) -> dict[str, Number]:
    """Errors over all models and requests, and how much an output token's time grows over the longest prompt."""
    numbers: dict[str, Number] = {}
    for name, clock in (("error", _PROCESSOR), ("error by the clock", _CLOCK)):
        sizes = np.abs([e for t in found for e in t.errors(clock)])
        means = np.random.default_rng(seed).choice(sizes, (4000, len(sizes))).mean(1)
        low, high = (float(x) for x in np.percentile(means, [2.5, 97.5]))
        numbers[name] = Number(float(sizes.mean()), "%", low, high, len(sizes), "mean of absolute errors")
        numbers[f"largest {name}"] = Number(float(sizes.max()), "%", n=len(sizes))
        within = 100 * float(np.mean(sizes <= 10))
        numbers[f"within 10%, {name}"] = Number(within, "%", n=len(sizes), note="of requests")
    for t in found:
        longest = t.model.knots[-1][0]
        least, *span = (
            100 * g * longest / t.model.token_seconds(0) for g in (t.model.growth, *t.model.growth_interval)
        )
        name = f"{t.subject.name}: growth of an output token over {longest} tokens"
        numbers[name] = Number(least, "%", span[0], span[1])
    return numbers
