"""Memory of a recipe: bytes held, steady bytes of a fresh process, and its peak. Three numbers, never mixed.

held: storages of weights, cache and index, counted (what the recipe predicts is compared with these).
steady: what the process holds beyond where it stood just before the cache was filled, after trimming.
peak: the most it held on the way, beyond the same point.
What the steady bytes of the whole process are held for is in its ledger (see byte_ledger).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..errors import TextError
from .byte_ledger import Entry, from_json, make_ledger, predictions, take_mark
from .gauges import ALLOCATOR, Gauge, gauge_for
from .isolated import run_isolated
from .rows import Row

if TYPE_CHECKING:
    from torch import Tensor

    from ..bridge.stream import Stream
    from ..contracts import Interval
    from ..recipes.recipe import Recipe
    from ..recipes.session import Session


@dataclass(frozen=True)
class MemoryRun:
    """One fresh process. seen: tokens that went through the cache; held: entries, a layer each; predicted:
    bytes of the cache as the recipe foretold them; kinds: what steady and peak mean on this system; ledger: what
    `steady_total_bytes` is made of."""

    values: dict[str, float]
    seen: int
    held: tuple[int, ...]
    predicted: tuple[float, float]
    counters: dict[str, dict[str, int]]
    kinds: dict[str, str]
    ledger: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class MemoryCell:
    """A recipe in as many fresh processes as there are runs."""

    recipe: str
    runs: tuple[MemoryRun, ...]

    def rows(self) -> list[Row]:
        return [
            Row(f"process-{i}", f"process-{i}", metric, value)
            for i, run in enumerate(self.runs)
            for metric, value in run.values.items()
        ]

    def medians(self) -> dict[str, float]:
        return {name: statistics.median(run.values[name] for run in self.runs) for name in self.runs[0].values}

    def shares(self, dense: MemoryCell) -> dict[str, float]:
        """Medians over those of `dense`, where dense holds anything."""
        own, other = self.medians(), dense.medians()
        return {name: own[name] / other[name] for name in own if other.get(name)}

    def as_json(self) -> dict[str, Any]:
        return {"recipe": self.recipe, "medians": self.medians(), "runs": [asdict(run) for run in self.runs]}


def measure_memory(
    model: str,
    recipe: str,
    length: int,
    *,
    ids: Sequence[int] | None = None,
    decode: int = 4,
    chunk: int = 512,
    runs: int = 1,
    threads: int | None = None,
    timeout_s: float | None = None,
    load_options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> MemoryCell:
    """`length` tokens (random ones without `ids`) through the cache, then a few decoding steps; each run is a
    fresh process. model, load_options: what `paretolm.load` takes.

    Raises TextError where ids are too few, CellError where a process fails."""
    if length < 1 or (ids is not None and len(ids) < length + decode):
        raise TextError(f"memory at {length} tokens needs {length + decode} token ids, not {len(ids or ())}")
    arguments = {
        "model": model,
        "load_options": dict(load_options or {}),
        "recipe": recipe,
        "length": length,
        "ids": None if ids is None else list(ids),
        "decode": decode,
        "chunk": chunk,
        "seed": seed,
    }
    job = f"{__name__}:memory_job"
    answers = [
        run_isolated(job, arguments, threads=threads, env=ALLOCATOR, timeout_s=timeout_s) for _ in range(max(1, runs))
    ]
    return MemoryCell(answers[0]["recipe"], tuple(run_from(answer["run"]) for answer in answers))


def run_from(data: Mapping[str, Any]) -> MemoryRun:
    lists = {"held": tuple(data["held"]), "predicted": tuple(data["predicted"])}
    return MemoryRun(**{**data, **lists, "ledger": from_json(data["ledger"])})


def memory_job(recipe: str, **arguments: Any) -> dict[str, Any]:
    """The isolated side of `measure_memory`."""
    from ..recipes.recipe import Recipe

    parsed = Recipe.parse(recipe)
    return {"recipe": str(parsed), "run": weigh_here(parsed, **arguments)}


def weigh_here(
    recipe: Recipe,
    model: str,
    load_options: dict[str, Any],
    length: int,
    ids: list[int] | None,
    decode: int,
    chunk: int,
    seed: int,
) -> dict[str, Any]:
    """A MemoryRun as JSON, of this process. Weights are changed for good, so that no originals are parked."""
    import torch

    gauge = gauge_for(str(load_options.get("device") or "cpu"))
    torch.manual_seed(seed)
    with open_session(recipe, model, load_options, gauge) as (session, empty, load_peak):
        vocabulary = session.plan.view.vocab_size
        given = torch.randint(vocabulary, (1, length + decode)) if ids is None else torch.tensor([ids])
        tokens = given.to(session.lm.model.device)
        size = min(recipe.chunk(length) or chunk, chunk)
        run = weigh(session, tokens[:, :length], tokens[:, length : length + decode], size, gauge, empty)
    run["values"]["peak_total_bytes"] = max(run["values"]["peak_total_bytes"], load_peak)
    weights = predicted_weights(recipe, model, load_options)
    run["ledger"] = [asdict(e.foretold(weights) if e.name == "weights" else e) for e in run["ledger"]]
    return run


def predicted_weights(recipe: Recipe, model: str, options: Mapping[str, Any]) -> Interval:
    """What the recipe foretells of the untouched model's weights; asked for when nothing is weighed any more."""
    from ..recipes.convert import load

    view = load(model, mapped=True, **{k: v for k, v in options.items() if k != "device"}).view
    return recipe.cost(view, 1).weight_bytes


@contextmanager
def open_session(
    recipe: Recipe, model: str, options: Mapping[str, Any], gauge: Gauge
) -> Iterator[tuple[Session, int, int]]:
    """(session, steady bytes without a model, peak of loading above that)."""
    from ..recipes.convert import load_converted
    from ..recipes.recipe import Recipe

    empty = gauge.steady()
    gauge.reset_peak()
    resident = gauge.resident()
    lm = load_converted(model, recipe, **options)
    with Recipe.parse(lm.recipe_left).apply(lm) as session:
        yield session, empty, gauge.peak() - resident


def weigh(session: Session, prompt: Tensor, after: Tensor, chunk: int, gauge: Gauge, empty: int) -> dict[str, Any]:
    """Fills the cache and weighs it: first a short request that lets the libraries make what they keep, then
    the point of departure, then the request itself."""
    loaded = take_mark(session, None, gauge)
    fill(session, prompt[:, :chunk], after, chunk)
    session.reset()
    warm = take_mark(session, session.stream(), gauge)  # the short request's cache goes
    gauge.reset_peak()
    resident = gauge.resident()
    stream = fill(session, prompt, after, chunk)
    peak = gauge.peak() - resident
    filled = take_mark(session, stream, gauge)
    predicted = predictions(session, stream)
    values = {
        "held_weight_bytes": filled.held["weights"] + filled.held["draft"],
        "held_kv_bytes": filled.held["cache"],
        "held_index_bytes": filled.held["index"],
        "steady_kv_bytes": filled.steady - warm.steady,
        "steady_total_bytes": filled.steady - empty,
        "peak_kv_bytes": peak,
        "peak_total_bytes": peak + warm.steady - empty,
    }
    return {
        "values": values,
        "seen": stream.seen,
        "held": stream.held,
        "predicted": (predicted["cache"].low, predicted["cache"].high),
        "counters": {**session.lm.counters, **session.counters},
        "kinds": gauge.kinds,
        "ledger": make_ledger(empty, loaded, warm, filled, predicted),
    }


def fill(session: Session, prompt: Tensor, after: Tensor, chunk: int) -> Stream:
    """A stream that has read the prompt and as many tokens as follow; a decoding method chooses them itself."""
    from ..contracts import Slot

    num = after.shape[1]
    if session.plan.edits(Slot.DECODE) and num:
        session.generate(prompt, max_new_tokens=num, min_new_tokens=num)
        made = session.last_stream
        assert made is not None
        return made
    prompt = session.rewrite(prompt).ids
    stream, size = session.stream(), prompt.shape[1]
    for start in range(0, size, chunk):
        stream.read(prompt[:, start : start + chunk], last=start + chunk >= size, logits=False)
    for i in range(num):
        stream.step(after[:, i : i + 1])
    return stream
