"""What compressed versions of a model lose, and what would have told it: numbers with intervals.

Intervals of task numbers come from drawing the tasks' items again, the versions staying the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ..bench.results.estimates import metric_of
from ..evaluation.rows import Row
from ..evaluation.summary import summarise
from .study import Number

Array = NDArray[np.float64]
GENERAL, TASK, NONE = "general text", "task text", "none"
RESAMPLES = 2000


@dataclass(frozen=True)
class Version:
    """One compressed model. nll: rows of the text; js in bits; scores: task -> item -> 0 or 1."""

    method: str
    sparsity: float
    calibrated_on: str
    nll: Sequence[Mapping[str, Any]]
    js: float
    scores: Mapping[str, Mapping[str, float]]

    @property
    def text(self) -> list[Row]:
        return [Row(**row) for row in self.nll]

    @property
    def perplexity(self) -> float:
        return float(np.exp(mean(self.text, "nll")))

    def share(self, task: str) -> float:
        """Percent of the items of a task."""
        return 100 * float(np.mean(list(self.scores[task].values())))


def version(facts: Mapping[str, Any]) -> Version:
    """From JSON values, which keep no order: tasks and items by name, so that a resumed study says the same."""
    scores = {task: dict(sorted(items.items())) for task, items in sorted(facts["scores"].items())}
    return Version(**{**facts, "scores": scores})


def mean(rows: Sequence[Row], metric: str) -> float:
    mine = [r for r in rows if r.metric == metric]
    return float(np.average([r.value for r in mine], weights=[r.weight for r in mine]))


class Losses:
    """Points that versions lose on each task beside the untouched model."""

    def __init__(self, dense: Version, versions: Sequence[Version], seed: int) -> None:
        self.tasks = list(dense.scores)
        self._lost = {  # task -> [versions, items]
            task: np.array([[100 * (right - v.scores[task][i]) for i, right in items.items()] for v in versions])
            for task, items in dense.scores.items()
        }
        self.by_task = np.stack([self._lost[task].mean(1) for task in self.tasks], axis=1)  # [versions, tasks]
        self.mean: Array = self.by_task.mean(1)  # [versions]
        rng = np.random.default_rng(seed)
        self.drawn: Array = np.array([self._draw(rng) for _ in range(RESAMPLES)])  # [resamples, versions]
        self.items = sum(lost.shape[1] for lost in self._lost.values())

    def _draw(self, rng: np.random.Generator) -> Array:
        found = [lost[:, rng.integers(lost.shape[1], size=lost.shape[1])].mean(1) for lost in self._lost.values()]
        return np.asarray(np.mean(found, axis=0))


def rank_correlation(a: Sequence[float] | Array, b: Sequence[float] | Array) -> float:
    """Spearman's; 0 where one side does not vary."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(stats.spearmanr(a, b).statistic)


def correlations(versions: Sequence[Version], lost: Losses) -> dict[str, Number]:
    """Of divergence and of perplexity with the mean loss over tasks, and how much the first is ahead."""
    measures = {"js": [v.js for v in versions], "perplexity": [v.perplexity for v in versions]}
    values = {name: rank_correlation(x, lost.mean) for name, x in measures.items()}
    drawn = {name: np.array([rank_correlation(x, loss) for loss in lost.drawn]) for name, x in measures.items()}
    found = {
        f"rank correlation of {name} and task loss": number(values[name], drawn[name], len(versions))
        for name in measures
    }
    ahead = number(values["js"] - values["perplexity"], drawn["js"] - drawn["perplexity"], len(versions))
    return found | {"the same, js minus perplexity": ahead}


def kept(dense: Version, versions: Sequence[Version], lost: Losses, seed: int) -> dict[str, Number]:
    """Of every version the rise of perplexity in percent, and the mean loss over tasks in points."""
    found = {}
    for i, v in enumerate(versions):
        _, s = summarise({"dense": dense.text, "own": v.text}, "dense", seed=seed)
        rise = metric_of(s).delta
        assert rise is not None
        name = f"{v.method} at {v.sparsity:g}"
        found[f"{name}, rise of perplexity"] = Number(rise.value, "%", rise.low, rise.high, rise.num_documents)
        found[f"{name}, task loss"] = number(float(lost.mean[i]), lost.drawn[:, i], lost.items, "points")
    return found


def gain(versions: Sequence[Version], method: str, task: str, seed: int) -> Number:
    """Points on a task by calibrating on its text, mean over sparsities."""
    of = {(v.sparsity, v.calibrated_on): v.scores[task] for v in versions if v.method == method}
    sparsities = sorted({s for s, _ in of})
    items = list(of[sparsities[0], TASK])
    delta = 100 * np.mean([[of[s, TASK][i] - of[s, GENERAL][i] for i in items] for s in sparsities], axis=0)
    rng = np.random.default_rng(seed)
    drawn = delta[rng.integers(len(delta), size=(RESAMPLES, len(delta)))].mean(1)
    return number(float(delta.mean()), drawn, len(delta), f"points of {task}")


def number(value: float, drawn: Array, n: int, unit: str = "") -> Number:
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Number(value, unit, float(low), float(high), n)
