"""A task of the judge on the untouched model alone, and shares with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scipy import stats

from ..bench.workers.arm import read_prompt
from ..bench.workers.measure import PREFILL_CHUNK
from ..evaluation.rows import Row
from ..evaluation.source import TextSource
from ..evaluation.task import DEFAULT_CHUNK, Run, Task
from ..recipes.recipe import Recipe
from ..recipes.session import Session
from .scoring import Tell, silent

if TYPE_CHECKING:
    from ..bridge.lm import LM

LEVEL = 0.95


def judged(lm: LM, task: Task, source: TextSource, tell: Tell = silent) -> list[Row]:
    """The rows of every item of a task that needs no base, read through the model's own cache."""
    items = task.items(source, lm)
    rows: list[Row] = []
    with Session.open(lm, Recipe()) as session:
        for number, item in enumerate(items):
            stream, end = read_prompt(session, item, PREFILL_CHUNK)
            again = lambda _, i=item: read_prompt(session, i, PREFILL_CHUNK)  # noqa: E731
            rows += task.score(Run(session, stream, end, DEFAULT_CHUNK, True, again), item, None).rows
            tell((number + 1) / len(items))
    return rows


def share(hits: int, trials: int) -> dict[str, Any]:
    """hits of trials with Wilson's 95% interval."""
    interval = stats.binomtest(hits, trials).proportion_ci(LEVEL, method="wilson")
    return {"value": hits / trials, "low": float(interval.low), "high": float(interval.high), "trials": trials}
