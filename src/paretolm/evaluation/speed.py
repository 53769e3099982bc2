"""Speed of a recipe beside its baseline, interleaved in one process of its own, each rate beside its ceiling."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import CallError, TextError
from .forked import run_forked
from .limits import Rate, ideal_seconds, impossible, skipped
from .machine import usable_threads
from .roofline import Roofline, Shape, decode_ceiling, load_roofline, prefill_ceiling
from .rows import Row
from .spread import Spread, spread

if TYPE_CHECKING:
    from torch import Tensor

    from ..bridge.lm import LM
    from ..recipes.recipe import Recipe
    from .arms import Clock, Request, Trial

MIN_REPEATS = 5


class Arm(Protocol):
    def run(self, clock: Clock) -> Trial: ...


def race(
    arms: Mapping[str, Arm], repeats: int, warmups: int = 1, clock: Clock = time.perf_counter
) -> dict[str, list[Trial]]:
    """Arms take turns; who goes first alternates, so that drift and heat hit all alike. Warm-ups do not count."""
    names = list(arms)
    for _ in range(warmups):
        for arm in arms.values():
            arm.run(clock)
    trials: dict[str, list[Trial]] = {name: [] for name in names}
    for repeat in range(repeats):
        for name in names if repeat % 2 == 0 else reversed(names):
            trials[name].append(arms[name].run(clock))
    return trials


def values_of(trial: Trial) -> dict[str, float]:
    """The metrics of one trial; the rate of decoding is left out where nothing was decoded."""
    found = {"ttft_s": trial.ttft_s, "prefill_tok_s": trial.prompt_tokens / trial.ttft_s}
    if trial.decoded and trial.forwards and trial.decode_s > 0:
        found["decode_tok_s"] = trial.decoded / trial.decode_s
        found["tokens_per_forward"] = trial.decoded / trial.forwards
    return found


def ratios_of(trial: Trial, base: Trial) -> dict[str, float]:
    """Above 1: faster than the baseline in the same repeat."""
    own, other = values_of(trial), values_of(base)
    found = {"ttft_ratio": other["ttft_s"] / own["ttft_s"]}
    if "decode_tok_s" in own and "decode_tok_s" in other:
        found["decode_speed_ratio"] = own["decode_tok_s"] / other["decode_tok_s"]
    return found


@dataclass(frozen=True)
class ArmResult:
    """trials in order of repeats; shape: what a forward must at least do (see arms.shape_facts)."""

    recipe: str
    chunk: int
    shape: dict[str, Any]
    counters: dict[str, dict[str, int]]
    trials: tuple[Trial, ...]

    def ceilings(self, roofline: Roofline) -> dict[str, float]:
        """Tokens/s no run can exceed; a rate whose ceiling is unknown is left out."""
        first = self.trials[0]
        per_forward = statistics.median(values_of(t).get("tokens_per_forward", 1.0) for t in self.trials)
        shape = Shape(
            weight_bytes=self.shape["weight_bytes"],
            kv_bytes=first.kv_bytes if self.shape["reads_whole_cache"] else 0,
            flops_per_token=self.shape["flops_per_token"],
            dtype=self.shape["dtype"],
            tokens_per_forward=per_forward,
        )
        found = {"decode_tok_s": decode_ceiling(roofline, shape)}
        if self.shape["reads_whole_prompt"]:
            found["prefill_tok_s"] = prefill_ceiling(roofline, shape)
        return {name: value for name, value in found.items() if math.isfinite(value)}


@dataclass(frozen=True)
class SpeedCell:
    """A recipe and its baseline in one race. mode: 'forced' fed both the same tokens, 'generated' let both
    choose greedily as many."""

    arm: ArmResult
    baseline: ArmResult
    mode: str
    device: str
    roofline: Roofline

    def rows(self, baseline: bool = False) -> list[Row]:
        """One row a repeat and metric. The baseline's ratios to itself are 1, so that all rows pair up."""
        trials = self.baseline.trials if baseline else self.arm.trials
        found: list[Row] = []
        for i, (trial, base) in enumerate(zip(trials, self.baseline.trials, strict=True)):
            values = values_of(trial) | ratios_of(trial, base)
            found += [Row(f"repeat-{i}", f"repeat-{i}", metric, value) for metric, value in values.items()]
        return found

    def spreads(self, baseline: bool = False) -> dict[str, Spread]:
        """Median and interval of every metric."""
        rows = self.rows(baseline)
        names = dict.fromkeys(row.metric for row in rows)
        return {name: spread([row.value for row in rows if row.metric == name]) for name in names}

    def ceilings(self, baseline: bool = False) -> dict[str, float]:
        return (self.baseline if baseline else self.arm).ceilings(self.roofline)

    def seconds(self, baseline: bool = False) -> tuple[float, float]:
        """(measured, ideal) seconds of the whole request: the median of the repeats, and the least time that this
        machine's roofline leaves for the same bytes and FLOPs."""
        trials = (self.baseline if baseline else self.arm).trials
        measured = statistics.median(t.ttft_s + t.decode_s for t in trials)
        return measured, ideal_seconds(trials[0], self.ceilings(baseline))

    @property
    def doubtful(self) -> bool:
        """Whether any rate, also of the untouched model, is above its ceiling: then the roofline is looked at again."""
        return any(rate.excess > 1 for baseline in (False, True) for rate in self._rates(baseline).values())

    @property
    def flags(self) -> list[str]:
        """Why no speed-up of this recipe may be printed: a sentence each."""
        above = impossible(self._rates(), self._rates(baseline=True), self.roofline.spread)
        return skipped(self.arm.trials) + above

    def _rates(self, baseline: bool = False) -> dict[str, Rate]:
        spreads = self.spreads(baseline)
        ceilings = self.ceilings(baseline)
        return {name: Rate(spreads[name].median, top) for name, top in ceilings.items() if name in spreads}

    def as_json(self) -> dict[str, Any]:
        """Everything measured, and what follows from it."""
        return {
            **{k: asdict(v) for k, v in (("arm", self.arm), ("baseline", self.baseline))},
            "mode": self.mode,
            "device": self.device,
            "threads": self.roofline.threads,
            "roofline": self.roofline.machine,
            "spreads": {k: v.as_json() for k, v in self.spreads().items()},
            "baseline_spreads": {k: v.as_json() for k, v in self.spreads(baseline=True).items()},
            "ceilings": self.ceilings(),
            "baseline_ceilings": self.ceilings(baseline=True),
            "seconds": self.seconds(),
            "baseline_seconds": self.seconds(baseline=True),
            "flags": self.flags,
        }


def measure_speed(
    model: str,
    recipe: str,
    prompt: Sequence[int],
    forced: Sequence[int],
    *,
    baseline: str = "dense",
    repeats: int = MIN_REPEATS,
    chunk: int = 512,
    threads: int | None = None,
    timeout_s: float | None = None,
    load_options: Mapping[str, Any] | None = None,
) -> SpeedCell:
    """The race in a process of its own. prompt and forced: token ids; as many tokens as in `forced` are decoded.

    model, load_options: what `paretolm.load` takes. Raises CallError for fewer than five repeats, TextError without tokens,
    CellError where the process fails.
    """
    if repeats < MIN_REPEATS:
        raise CallError(f"speed needs at least {MIN_REPEATS} repeats, not {repeats}: fewer say nothing about noise")
    if not prompt or not forced:
        raise TextError("speed needs at least one token to read and one to decode")
    threads = threads or usable_threads()
    arguments = {
        "model": model,
        "load_options": dict(load_options or {}),
        "recipes": {"baseline": baseline, "arm": recipe},
        "prompt": list(prompt),
        "forced": list(forced),
        "repeats": repeats,
        "chunk": chunk,
    }
    answer = run_forked(f"{__name__}:speed_job", arguments, threads=threads, timeout_s=timeout_s)
    cell = cell_from(answer, load_roofline(threads, answer["device"]))
    if cell.doubtful:  # before a rate is doubted, the ceiling is
        cell = replace(cell, roofline=load_roofline(threads, answer["device"], again=True))
    return cell


def cell_from(answer: Mapping[str, Any], roofline: Roofline) -> SpeedCell:
    """A cell from what `speed_job` answered."""
    from .arms import Trial

    def arm(data: Mapping[str, Any]) -> ArmResult:
        return ArmResult(**{**data, "trials": tuple(Trial(**t) for t in data["trials"])})

    return SpeedCell(arm(answer["arm"]), arm(answer["baseline"]), answer["mode"], answer["device"], roofline)


def speed_job(
    model: str,
    load_options: dict[str, Any],
    recipes: dict[str, str],
    prompt: list[int],
    forced: list[int],
    repeats: int,
    chunk: int,
) -> dict[str, Any]:
    """The isolated side of `measure_speed`."""
    import torch

    from ..recipes import convert
    from ..recipes.recipe import Recipe
    from .arms import Request

    def load() -> LM:
        return convert.load(model, **load_options)

    first = load()
    request = Request(_ids(prompt, first.model.device), _ids(forced, first.model.device), chunk)
    torch.manual_seed(0)
    return run_race(first, load, {name: Recipe.parse(line) for name, line in recipes.items()}, request, repeats)


def run_race(
    lm: LM, load: Any, recipes: Mapping[str, Recipe], request: Request, repeats: int, clock: Clock = time.perf_counter
) -> dict[str, Any]:
    """Opens an arm a recipe and races them. load() gives a further copy of the model, where one is needed."""
    from .arms import SessionArm, kept_open, mode_for, settled_heap

    slots = {name: {e.slot for _, e in r.plan(lm.view).pairs} for name, r in recipes.items()}
    mode = mode_for(set().union(*slots.values()))
    arms = {}
    for name, recipe in recipes.items():
        own = kept_open(slots[name])
        arms[name] = SessionArm(load() if own else lm, recipe, request, mode, keep_open=own)
    try:
        with settled_heap():
            trials = race(arms, repeats, clock=clock)
    finally:
        for arm in arms.values():
            arm.close()
    results = {
        name: asdict(
            ArmResult(str(arm.recipe), arm.chunk, arm.facts["shape"], arm.facts["counters"], tuple(trials[name]))
        )
        for name, arm in arms.items()
    }
    return {**results, "mode": mode, "device": str(lm.model.device)}


def _ids(tokens: Iterable[int], device: Any) -> Tensor:
    import torch

    return torch.tensor([list(tokens)], dtype=torch.long, device=device)
