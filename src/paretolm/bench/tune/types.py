"""What a search found, as plain data. The table, the JSON and the page are drawn from it alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..results.types import Estimate
from .limits import Limit, Limits

Span = tuple[float, float | None]  # low and high; None where nobody knows
Stage = Literal["predicted", "scored", "stopped", "ranked", "failed"]


@dataclass(frozen=True)
class Foreseen:
    """A recipe with the bytes it is predicted to hold at the context. slots: method -> where it acts."""

    line: str
    kv: Span
    weights: Span
    index: Span
    slots: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exact: tuple[str, ...] = ()
    least_s: float = (
        0.0  # seconds a token in which this machine's memory can deliver the weights; 0 where not asked for
    )

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(self.slots)

    @property
    def total(self) -> Span:
        """Weights, cache and what the methods hold beside it."""
        highs = [high for _, high in (self.kv, self.weights, self.index) if high is not None]
        low = self.kv[0] + self.weights[0] + self.index[0]
        return low, sum(highs) if len(highs) == 3 else None

    def bytes(self, name: str) -> Span:
        """Of 'kv' or 'memory'."""
        return self.kv if name == "kv" else self.total

    def most(self, name: str) -> float:
        """The same at its high end, where it is known: what a recipe is set against others by."""
        low, high = self.bytes(name)
        return low if high is None else high


@dataclass(frozen=True)
class Point:
    """A recipe on its way through the search. scores: name of a limit -> its value on the items scored so far.

    stage: 'scored' on some items, 'stopped' early, 'ranked' on all items of the search, 'failed' with a reason."""

    foreseen: Foreseen
    scores: Mapping[str, Estimate] = field(default_factory=dict)
    stage: Stage = "predicted"
    reason: str = ""
    items: int = 0
    on_frontier: bool = False

    @property
    def line(self) -> str:
        return self.foreseen.line


@dataclass(frozen=True)
class Check:
    """One limit at the proof. value with its interval in `unit`; dense: the untouched model's at the same place."""

    limit: str
    met: bool
    estimate: Estimate
    bound: float
    dense: float | None = None
    what: str = ""  # what was measured, in a line


@dataclass(frozen=True)
class Proof:
    """The recipe measured again in fresh processes, on items that the search has not seen."""

    line: str
    checks: tuple[Check, ...]
    beside: Mapping[str, float] = field(default_factory=dict)  # bytes of the fresh process, not limited
    reason: str = ""  # why it failed, where it did

    @property
    def met(self) -> bool:
        return not self.reason and all(check.met for check in self.checks)


@dataclass(frozen=True)
class Relaxed:
    """The least by which one limit must give way for a recipe to be there: name of the limit, the value it needs."""

    limit: str
    needs: float
    line: str
    predicted: bool = False  # nothing of it was measured


@dataclass(frozen=True)
class Left:
    """Methods that were not searched, and why."""

    reason: str
    methods: tuple[str, ...]


@dataclass(frozen=True)
class Tuned:
    """What one search found. best: None where no recipe meets all limits; then binds says which limit is in the way,
    and nearest what comes closest."""

    model: str
    text: str
    context: int
    trained_length: int
    limits: tuple[Limit, ...]
    watched: tuple[Limit, ...]  # qualities that were scored, limited or not
    dense: Foreseen
    dense_scores: Mapping[str, Estimate]
    best: Proof | None
    proofs: tuple[Proof, ...]  # in the order in which they were tried
    binds: str
    nearest: Point | None
    relaxed: tuple[Relaxed, ...]
    points: tuple[Point, ...]
    left_out: tuple[Left, ...]
    counts: Mapping[str, int]  # how many recipes each stage saw
    notes: tuple[str, ...]
    conditions: Mapping[str, Any]
    machine: Mapping[str, Any]
    seed: int
    computed: int  # items scored by this call
    reused: int  # items read from the store
    seconds: float
    store: str
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def asked(self) -> Limits:
        return Limits(self.context, self.limits)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the same numbers the table shows."""
        found = asdict(self)
        for limit in (*found["limits"], *found["watched"]):
            limit["bound"] = None if limit["bound"] == float("inf") else limit["bound"]
        return found
