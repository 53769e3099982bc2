"""Full scores from a small subset of a set, chosen by what its items demand and not by how models did on them.

Bean et al. 2025 (Scales++): items are embedded by their cognitive demands, the embeddings are reduced and clustered,
the items nearest to the centres are the subset, and a full score is estimated from the subset's. Where this leaves
the paper: demands are read off the words by rule (see _scales.py) instead of rated by a large model, principal
components stand for UMAP, and the estimate mixes two equal parts, the clusters' weighted mean and a ridge regression
of scores on embeddings that fills in the items not asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.cluster.vq import kmeans2

from ..bench.records.keys import digest
from ..contracts import knob
from ..errors import UserError
from ._questions import Question, log_likelihoods, questions, right
from ._scales import scales
from .study import Column, Figure, Findings, Line, Number, Place, Study, Table, Value

_KEPT = 0.9  # of the variance


@dataclass(frozen=True)
class Subset:
    """items: their places in the set; weights: the share of the set each stands for."""

    items: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, kw_only=True)
class ScalesPp(Study):
    papers: ClassVar[tuple[str, ...]] = ("2510.26384",)
    models: ClassVar[tuple[int, int | None]] = (3, None)

    path: str | None = knob(
        None, help="questions: JSON lines with question, choices, answer, or pairs; else made of the text"
    )
    items: int = knob(1000, low=100, help="questions of the full set at most")
    share: float = knob(0.05, low=0.001, high=0.5, help="of the full set that is asked")
    draws: int = knob(200, low=20, help="random subsets compared with, and clusterings")

    def sources(self) -> tuple[str, ...]:
        return (*super().sources(), "studies/_questions.py", "studies/_scales.py")

    def run(self, at: Place) -> Findings:
        asked = questions(at.source, self.path, self.items, self.seed, self.items)
        size = int(len(asked) * self.share)
        if size < 2:
            raise UserError(f"{self.share:g} of {len(asked)} questions is less than two: give more, or a larger share")
        table = np.array([self._scores(at, model, asked, i) for i, model in enumerate(at.models)])
        embedding = embed(scales(asked))
        chosen = [choose(embedding, size, self.seed + i) for i in range(min(self.draws, 40))]
        rng = np.random.default_rng(self.seed)
        chance = [rng.choice(len(asked), size, replace=False) for _ in range(self.draws)]
        guesses = {
            "scales": np.array([[estimate(s, row, embedding) for row in table] for s in chosen]),
            "scales, weighted mean alone": np.array(
                [[float(s.weights @ row[s.items]) for row in table] for s in chosen]
            ),
            "random": np.array([[row[items].mean() for row in table] for items in chance]),
        }
        return self._findings(at, asked, table, guesses, size)

    def _scores(self, at: Place, model: str, asked: Sequence[Question], number: int) -> list[float]:
        at.progress.note(f"model {number + 1} of {len(at.models)}: {model}")
        unit = {"model": at.content(model), "asked": digest([(q.id, q.context, q.choices, q.answer) for q in asked])}

        def work() -> list[float]:
            found = log_likelihoods(at.load(model), asked, "cloze")
            return [right(q, lls) for q, lls in zip(asked, found, strict=True)]

        found: list[float] = at.once(self, unit, work)
        return found

    def _findings(
        self, at: Place, asked: Sequence[Question], table: np.ndarray, guesses: Mapping[str, np.ndarray], size: int
    ) -> Findings:
        full = table.mean(1)
        errors = {name: 100 * np.abs(g - full) for name, g in guesses.items()}  # [subsets, models]
        numbers = {f"{name}: error": self._over_models(e.mean(0)) for name, e in errors.items()}
        numbers["random minus scales"] = self._over_models(errors["random"].mean(0) - errors["scales"].mean(0))
        beaten = float(np.mean(errors["random"].mean(1)[:, None] > errors["scales"].mean(1)[None]))
        numbers["random subsets that do worse"] = Number(100 * beaten, "%", n=len(errors["random"]))
        return Findings(
            tables=(_errors_table(errors), _models_table(at.models, full, guesses)),
            figures=(_figure(full, guesses),),
            numbers=numbers,
            notes=(
                f"{size} of {len(asked)} questions are asked ({100 * size / len(asked):.1f}%); "
                f"full scores of {len(full)} models are estimated from them.",
                "Error: mean absolute error of the estimated full score, in points; the interval resamples the models.",
                "Scales are read off the words of the items by rule; no model rates them.",
            ),
            rows=[
                {"model": m, "item": q.id, "right": table[i, j]}
                for i, m in enumerate(at.models)
                for j, q in enumerate(asked)
            ],
        )

    def _over_models(self, values: np.ndarray) -> Number:
        """Mean over models, with the interval of resampled models."""
        means = np.random.default_rng(self.seed).choice(values, (4000, len(values))).mean(1)
        low, high = np.percentile(means, [2.5, 97.5])
        return Number(float(values.mean()), "points", float(low), float(high), len(values), "models")


def embed(table: np.ndarray) -> np.ndarray:
    """Principal components [items, d] that hold 90% of the variance."""
    u, s, _ = np.linalg.svd(table - table.mean(0), full_matrices=False)
    held = np.cumsum(s**2) / (s**2).sum()
    kept = int(np.searchsorted(held, _KEPT)) + 1
    found: np.ndarray = u[:, :kept] * s[:kept]
    return found


def choose(embedding: np.ndarray, size: int, seed: int) -> Subset:
    """The item nearest to each cluster's centre, with the cluster's share as its weight. An empty cluster gives no
    item, so that there may be fewer than `size`."""
    centres, labels = kmeans2(embedding, size, minit="++", seed=np.random.default_rng(seed), missing="warn")
    items, weights = [], []
    for cluster in range(size):
        own = np.flatnonzero(labels == cluster)
        if len(own):
            away = np.linalg.norm(embedding[own] - centres[cluster], axis=1)
            items.append(int(own[away.argmin()]))
            weights.append(len(own) / len(embedding))
    return Subset(np.array(items), np.array(weights))


def estimate(subset: Subset, scores: np.ndarray, embedding: np.ndarray, ridge: float = 1.0) -> float:
    """The full score, from the scores of the subset's items alone."""
    seen = scores[subset.items]
    weighted = float(subset.weights @ seen)
    x, whole = _with_one(embedding[subset.items]), _with_one(embedding)
    penalty = ridge * len(seen) * np.eye(x.shape[1])
    penalty[0, 0] = 0.0  # the intercept is free
    filled = np.clip(whole @ np.linalg.solve(x.T @ x + penalty, x.T @ seen), 0.0, 1.0)
    filled[subset.items] = seen
    return 0.5 * weighted + 0.5 * float(filled.mean())


def _with_one(x: np.ndarray) -> np.ndarray:
    return np.hstack([np.ones((len(x), 1)), x])


def _errors_table(errors: Mapping[str, np.ndarray]) -> Table:
    columns = (
        Column("subset"),
        Column("error", "points", ".2f", "mean absolute error of the estimated full score"),
        Column("best subset", "points", ".2f"),
        Column("worst subset", "points", ".2f"),
        Column("worst model", "points", ".2f"),
    )
    rows: list[tuple[Value, ...]] = []
    for name, e in errors.items():
        each = e.mean(1)
        rows.append((name, float(each.mean()), float(each.min()), float(each.max()), float(e.mean(0).max())))
    return Table("Full scores from a subset", columns, tuple(rows))


def _models_table(models: Sequence[str], full: np.ndarray, guesses: Mapping[str, np.ndarray]) -> Table:
    columns = (Column("model"), Column("full", "%", ".1f"), *(Column(name, "%", ".1f") for name in guesses))
    rows: list[tuple[Value, ...]] = [
        (m, 100 * float(full[i]), *(100 * float(g[:, i].mean()) for g in guesses.values()))
        for i, m in enumerate(models)
    ]
    return Table("Models", columns, tuple(rows))


def _figure(full: np.ndarray, guesses: Mapping[str, np.ndarray]) -> Figure:
    lines: list[Line] = []
    for name, g in guesses.items():
        low, high = (np.percentile(100 * g, q, axis=0) for q in (2.5, 97.5))
        points: dict[str, Any] = {"x": 100 * full, "y": 100 * g.mean(0), "low": low, "high": high}
        lines.append(Line(name, **{k: tuple(map(float, v)) for k, v in points.items()}, points=True))
    return Figure("Estimated from a subset, over the full score", "full score, %", "estimate, %", tuple(lines))
