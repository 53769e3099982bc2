"""Comparison: what compare found, as plain data. The table, the JSON and the report are drawn from it alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .pockets import Atlas

AUDIT = "audit_nll_gap"
FEW = "too few documents"  # note of an estimate
State = Literal["done", "did not act", "suspect", "failed", "n/a", "missing"]


@dataclass(frozen=True)
class Estimate:
    """A number with its interval. num_items values from num_documents independent documents."""

    value: float
    low: float | None
    high: float | None
    unit: str
    num_items: int
    num_documents: int
    note: str = ""  # why the interval is missing or wide


@dataclass(frozen=True)
class Metric:
    """One metric of one cell, with the paired difference from the untouched model."""

    name: str
    higher_is_better: bool
    estimate: Estimate
    delta: Estimate | None = None
    smallest_effect: float | None = None  # the smallest difference these documents could have shown
    p_value: float | None = None


@dataclass(frozen=True)
class Series:
    """A metric broken down: along x (a position), or over x and y (a length and a depth)."""

    metric: str
    x_name: str
    x: tuple[float, ...]
    value: tuple[float, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    y_name: str | None = None
    y: tuple[float, ...] = ()
    num_items: tuple[int, ...] = ()


@dataclass(frozen=True)
class TaskInfo:
    name: str
    line: str  # with every knob that differs from its default
    version: str
    title: str  # what it measures, in a line
    metrics: tuple[str, ...]  # the first is the one that is ranked
    num_items: int
    num_documents: int
    data: str  # hash
    sees: tuple[str, ...]  # the slots it can see
    group: str = ""  # of the suite it came with


@dataclass(frozen=True)
class Decision:
    """Why a recipe needed no further items, or that all of them were not enough: its difference from the untouched
    model lies within the margin ('same') or beyond it ('worse', 'better').

    margin in `unit`; alpha: the chance that any of the decisions on the task's `recipes` is wrong."""

    word: Literal["same", "worse", "better", "undecided"]
    margin: float
    unit: str
    items: int
    of: int  # items there are
    documents: int  # those that were tested
    e_value: float  # evidence for it; where undecided, the most there is for any decision
    needed: float  # the e-value that decides
    alpha: float
    recipes: int


@dataclass(frozen=True)
class CellResult:
    """One recipe on one task."""

    task: str
    state: State
    reason: str = ""  # one sentence wherever state is not 'done'
    key: str = ""
    chunk: int | None = None
    metrics: tuple[Metric, ...] = ()
    series: tuple[Series, ...] = ()
    unseen: tuple[str, ...] = ()  # methods of the recipe that this task cannot see
    notes: tuple[str, ...] = ()
    seconds: float | None = None
    decision: Decision | None = None  # where scoring was to end as soon as it is decided
    short: bool = False  # did not act because no item is long enough for it, as predicted
    fresh: bool = True  # measured by this call, not read from the store

    def metric(self, name: str) -> Metric | None:
        return next((m for m in self.metrics if m.name == name), None)


@dataclass(frozen=True)
class Bytes:
    """held: unique storages, after a prompt of `tokens`; predicted: the interval known before opening; dense: what
    the untouched model holds at the same place."""

    held: float | None
    predicted_low: float | None
    predicted_high: float | None
    dense: float | None = None
    tokens: int | None = None


@dataclass(frozen=True)
class Booked:
    """One entry of the byte ledger of a fresh process; low, high: as predicted, None where nobody predicts it."""

    name: str
    measured: float
    low: float | None = None
    high: float | None = None
    difference: float | None = None  # measured less predicted; 0 inside the interval


@dataclass(frozen=True)
class Runtime:
    """Seconds of one request, prompt and decoding: as measured, and the least that bandwidth and arithmetic of this
    machine leave for the same bytes and FLOPs."""

    measured: float
    ideal: float


@dataclass(frozen=True)
class RecipeResult:
    line: str  # canonical
    hash: str
    typed: str  # as the user wrote it
    cells: tuple[CellResult, ...]
    kv_bytes: Bytes | None = None
    weight_bytes: Bytes | None = None
    acted: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # method -> counter -> total
    papers: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()  # where its methods act, in order
    index_bytes: float | None = None  # tables and scores beside the cache
    speed: Metric | None = None  # decoding rate over the untouched model's of the same repeat
    flags: tuple[str, ...] = ()  # why no speed is given though it was measured: it cannot be true
    runtime: Runtime | None = None
    memory: Mapping[str, float] = field(default_factory=dict)  # of a fresh process: name -> bytes
    ledger: tuple[Booked, ...] = ()  # what the steady bytes of the process are held for; adds up to them
    on_frontier: tuple[str, ...] = ()  # axes: 'kv_bytes', 'speed'

    @property
    def is_dense(self) -> bool:
        return self.line == "dense"

    def cell(self, task: str) -> CellResult | None:
        return next((c for c in self.cells if c.task == task), None)

    @property
    def idle(self) -> list[str]:
        """Methods that did nothing on any task, in a recipe of which another part acted."""
        found = [name for name, counts in self.acted.items() if not any(counts.values())]
        return found if len(found) < len(self.acted) else []

    @property
    def audit(self) -> Metric | None:
        """One token at a time minus in chunks, on the same tokens; None where chunks mean the same."""
        found = (c.metric(AUDIT) for c in self.cells)
        return next((m for m in found if m), None)

    @property
    def ranked(self) -> bool:
        """No quality number of a recipe that failed, or did nothing, may stand in the ranking. Where items were too
        short for it, it is ranked by the other tasks."""
        settled = all(c.state in ("done", "n/a") or c.short for c in self.cells)
        return settled and any(c.state == "done" for c in self.cells)


@dataclass(frozen=True)
class Apart:
    """Two recipes of like perplexity that a task tells apart; pairs of numbers in the order better, worse."""

    better: str
    worse: str
    perplexity: tuple[float, float]
    task: str
    group: str
    values: tuple[float, float]  # percent
    difference: Estimate  # points, worse minus better, paired


@dataclass(frozen=True)
class Comparison:
    """Everything one call found."""

    model: str
    model_hash: str
    trained_length: int
    text: str  # what it was measured on
    recipes: tuple[RecipeResult, ...]  # dense first
    tasks: tuple[TaskInfo, ...]
    conditions: Mapping[str, Any]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    created: str  # ISO time
    seconds: float
    computed: int  # cells measured by this call
    reused: int  # cells read from the store
    store: str
    notes: tuple[str, ...] = ()  # what was done to the text before it was read
    alike: int | None = None  # pairs of recipes of like perplexity, where a suite asks for them
    apart: tuple[Apart, ...] = ()  # those of them that another task tells apart
    atlas: tuple[Atlas, ...] = ()  # which kinds of items a recipe hurts most, with the worst of their rows
    title: str = ""

    def recipe(self, line: str) -> RecipeResult:
        """The result of one recipe, as typed or canonical. Raises KeyError."""
        for recipe in self.recipes:
            if line in (recipe.line, recipe.typed):
                return recipe
        raise KeyError(line)

    def task(self, name: str) -> TaskInfo:
        for task in self.tasks:
            if task.name == name:
                return task
        raise KeyError(name)

    @property
    def failures(self) -> list[tuple[RecipeResult, CellResult]]:
        return [(r, c) for r in self.recipes for c in r.cells if c.state in ("failed", "missing", "suspect")]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the same numbers the table shows."""
        return asdict(self)
