"""Byte ledger: what the steady bytes of a fresh process are held for, each entry beside what was predicted.

Storages that can be named are counted. What is left is told apart by when it came, and the last entry is what no
other explains, so that the entries add up to the steady bytes of the process to the byte.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from ..bridge.stream import Stream
    from ..contracts import Interval
    from ..recipes.session import Session
    from .gauges import Gauge

HELP: Mapping[str, str] = {
    "weights": "parameters and buffers of the model, as the recipe leaves them",
    "cache": "keys, values and positions",
    "index": "scores, tables and datastores beside the cache",
    "draft": "second models: their weights and their cache",
    "parked": "weights that the recipe displaced and keeps for undoing it",
    "libraries": "code, configuration and tokenizer, loaded with the model",
    "workspaces": "what the first request left behind: buffers of kernels, stacks of threads",
    "page slack": "the rest of the memory pages that the storages above lie on",
    "unexplained": "what no other entry explains; below zero where some of the above was not resident",
}


@dataclass(frozen=True)
class Entry:
    """Bytes measured, and the interval predicted before the recipe was opened (None: nobody predicts it, or its size
    is unknown)."""

    name: str
    measured: float
    low: float | None = None
    high: float | None = None

    @property
    def difference(self) -> float | None:
        """Measured less predicted; 0 inside the interval."""
        if self.low is None or self.high is None:
            return None
        return self.measured - min(max(self.measured, self.low), self.high)

    def foretold(self, interval: Interval) -> Entry:
        known = math.isfinite(interval.high)
        return Entry(self.name, self.measured, interval.low if known else None, interval.high if known else None)


@dataclass(frozen=True)
class Mark:
    """A moment of the process: its steady bytes, those of the storages that can be named, and their page slack."""

    steady: int
    held: Mapping[str, int]
    slack: int

    @property
    def unnamed(self) -> int:
        return self.steady - sum(self.held.values()) - self.slack


def take_mark(session: Session, stream: Stream | None, gauge: Gauge) -> Mark:
    """Now. A byte that two entries share counts in the first."""
    from ..bridge.bytes import held_bytes, page_rounding

    steady = gauge.steady()
    known: list[Tensor] = []
    held, before = {}, 0
    for name, tensors in _named(session, stream):
        known += tensors
        total = held_bytes(known)
        held[name], before = total - before, total
    return Mark(steady, held, page_rounding(known, gauge.page))


def make_ledger(
    empty: int, loaded: Mark, warm: Mark, filled: Mark, predicted: Mapping[str, Interval]
) -> tuple[Entry, ...]:
    """The entries of a process. empty: its steady bytes before the model was loaded; loaded: the recipe is in force;
    warm: a first request has come and gone; filled: the request that is weighed."""
    named = [Entry(name, count) for name, count in filled.held.items()]
    return (
        *(entry.foretold(predicted[entry.name]) if entry.name in predicted else entry for entry in named),
        Entry("libraries", loaded.unnamed - empty),
        Entry("workspaces", warm.unnamed - loaded.unnamed),
        Entry("page slack", filled.slack),
        Entry("unexplained", filled.unnamed - warm.unnamed),
    )


def predictions(session: Session, stream: Stream) -> dict[str, Interval]:
    """What the recipe in force foretells of the cache and the index, at the length the stream has reached, and what
    the recipes of second models foretell of theirs."""
    cost = session.recipe.cost(session.lm.view, stream.seen)
    draft = _seconds(session)
    return {"cache": cost.kv_bytes, "index": cost.index_bytes, "draft": draft}


def _seconds(session: Session) -> Interval:
    """Of the second models of a session."""
    from ..contracts import Interval

    return sum((_second(second) for second in session.seconds), Interval(0, 0))


def _second(session: Session) -> Interval:
    stream = session.last_stream
    cost = session.recipe.cost(session.lm.view, stream.seen if stream else 0)
    return cost.weight_bytes + cost.kv_bytes + _seconds(session)


def _named(session: Session, stream: Stream | None) -> Iterator[tuple[str, list[Tensor]]]:
    model = session.lm.model
    yield "weights", [*model.parameters(), *model.buffers()]
    yield "cache", stream.kv_tensors() if stream else []
    yield "index", stream.index_tensors() if stream else session.binding.state_tensors()
    yield "draft", [t for second in session.seconds for t in _all_of(second)]
    yield "parked", [t for module in session.parked for t in (*module.parameters(), *module.buffers())]


def _all_of(session: Session) -> list[Tensor]:
    return [t for _, tensors in _named(session, session.last_stream) for t in tensors]


def from_json(entries: list[dict[str, Any]]) -> tuple[Entry, ...]:
    return tuple(Entry(**entry) for entry in entries)
