"""Which form of a question tells early training checkpoints apart: signal quality and ranking consistency.

Yagoubi et al. 2025 (the E2LM competition) score evaluation tasks by the quality of their signal over checkpoints, by
whether early rankings hold at the end of training, and by relevance to science. Here: the first two, for forms of
the same questions. The competition's own formulas are not public in full; signal quality is Spearman's rank
correlation of a checkpoint's place in training with its score, and, for smoothness, net change over total change;
ranking consistency is Kendall's tau between the order of several runs early and at their end, and with a single run
between the orders that two random halves of the items give its checkpoints. Relevance to science is the questions'.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy import stats

from ..bench.records.keys import digest
from ..contracts import knob
from ..errors import UserError
from ._questions import Question, log_likelihoods, per_byte, probability, questions, right
from .study import Column, Figure, Findings, Line, Number, Place, Study, Table, Value

FORMS = ("cloze", "cloze per byte", "cloze probability", "letters", "letters probability")
_LEAST = 3
_STEP = re.compile(r"\d+")


@dataclass(frozen=True)
class Checkpoint:
    """step: its place in training, as its directory says, else its place in the call."""

    model: str
    run: str
    step: int


@dataclass(frozen=True, kw_only=True)
class E2lm(Study):
    papers: ClassVar[tuple[str, ...]] = ("2506.07731",)
    models: ClassVar[tuple[int, int | None]] = (_LEAST, None)

    path: str | None = knob(
        None, help="questions: JSON lines with question, choices, answer; by default made of the text"
    )
    items: int = knob(400, low=20, help="questions at most")
    resamples: int = knob(1000, low=100, help="of the documents, for intervals")

    def sources(self) -> tuple[str, ...]:
        return (*super().sources(), "studies/_questions.py")

    def run(self, at: Place) -> Findings:
        asked = questions(at.source, self.path, self.items, self.seed, self.items)
        found = checkpoints(at.models)
        scores = {c: self._scores(at, c, asked, i, len(found)) for i, c in enumerate(found)}
        return self._findings(found, asked, scores)

    def _scores(
        self, at: Place, checkpoint: Checkpoint, asked: Sequence[Question], number: int, whole: int
    ) -> dict[str, list[float]]:
        """Form -> score of each question."""
        at.progress.note(f"checkpoint {number + 1} of {whole}: {checkpoint.model}")
        unit: dict[str, Any] = {"model": at.content(checkpoint.model)}
        unit["asked"] = digest([(q.id, q.context, q.choices, q.answer) for q in asked])
        found: dict[str, list[float]] = at.once(self, unit, lambda: score(at, checkpoint.model, asked))
        return found

    def _findings(
        self,
        found: Sequence[Checkpoint],
        asked: Sequence[Question],
        scores: Mapping[Checkpoint, Mapping[str, list[float]]],
    ) -> Findings:
        judged = {form: self._judge(found, asked, [scores[c][form] for c in found]) for form in FORMS}
        numbers = {
            f"{form}: {what}": j[what + " number"] for form, j in judged.items() for what in ("signal", "consistency")
        }
        numbers |= {
            f"cloze minus letters, {what}": _gap(judged["cloze"], judged["letters"], what, len(found))
            for what in ("signal", "consistency")
        }
        return Findings(
            tables=(_forms_table(judged), _scores_table(found, scores)),
            figures=(_figure(found, scores),),
            numbers=numbers,
            notes=self._notes(found, asked),
            rows=_rows(found, asked, scores),
        )

    def _judge(
        self, found: Sequence[Checkpoint], asked: Sequence[Question], values: Sequence[list[float]]
    ) -> dict[str, Any]:
        """Signal and consistency of one form, with intervals over the documents."""
        table = np.array(values)  # [checkpoints, items]
        runs = by_run(found)
        documents = {d: [i for i, q in enumerate(asked) if q.doc == d] for d in dict.fromkeys(q.doc for q in asked)}
        groups, rng = list(documents.values()), np.random.default_rng(self.seed)
        draws, agreed = [], []
        for _ in range(self.resamples):
            drawn = [i for g in rng.integers(len(groups), size=len(groups)) for i in groups[g]]
            draws.append(monotonicity(runs, table[:, drawn].mean(1)))
            agreed.append(consistency(runs, table, rng.permutation(len(groups)), groups))
        scores = table.mean(1)
        signal, agreement = monotonicity(runs, scores), float(np.mean(agreed))
        (low, high), around = np.percentile(draws, [2.5, 97.5]), np.percentile(agreed, [2.5, 97.5])
        return {
            "signal draws": np.array(draws),
            "consistency draws": np.array(agreed),
            "directness": directness(runs, scores),
            "gain": float(np.mean([scores[run[-1]] - scores[run[0]] for run in runs.values()])),
            "signal number": Number(signal, "rank correlation", float(low), float(high), len(found)),
            "consistency number": Number(
                agreement, "Kendall's tau", float(around[0]), float(around[1]), len(found), _what(runs)
            ),
        }

    def _notes(self, found: Sequence[Checkpoint], asked: Sequence[Question]) -> tuple[str, ...]:
        chance = np.mean([1 / len(q.choices) for q in asked])
        made = "from a file" if self.path else "made of the text: its own next words among those of other passages"
        return (
            f"{len(asked)} questions {made}; chance is {100 * chance:.0f}%.",
            f"{len(found)} checkpoints of {len(by_run(found))} runs; intervals: documents resampled {self.resamples} times.",
            "Signal: Spearman's correlation of place in training and score. Directness: net change over total change.",
            "The competition's relevance to science is not scored: it is a property of the questions that are given.",
        )


def checkpoints(models: Sequence[str]) -> list[Checkpoint]:
    """Runs and steps by the directories' names, RUN/.../STEP; names without a number count in the order given.
    Raises UserError where one run has a step twice."""
    found = []
    for place, model in enumerate(models, 1):
        path = Path(model)
        steps = _STEP.findall(path.name) if path.is_dir() else []
        run = str(path.resolve().parent) if steps else "call"
        found.append(Checkpoint(model, run, int(steps[-1]) if steps else place))
    if len({(c.run, c.step) for c in found}) < len(found):
        raise UserError("two checkpoints of one run have the same step: name each once")
    return sorted(found, key=lambda c: (c.run, c.step))


def by_run(found: Sequence[Checkpoint]) -> dict[str, list[int]]:
    """Run -> places of its checkpoints, in order of training; those of fewer than three count as one run."""
    runs: dict[str, list[int]] = {}
    for place, c in enumerate(found):
        runs.setdefault(c.run, []).append(place)
    if any(len(places) < _LEAST for places in runs.values()):
        return {"all": sorted(range(len(found)), key=lambda i: found[i].step)}
    return runs


def score(at: Place, model: str, asked: Sequence[Question]) -> dict[str, list[float]]:
    """Form -> each question's score, 0 to 1."""
    lm = at.load(model)
    cloze, lettered = (log_likelihoods(lm, asked, form) for form in ("cloze", "letters"))
    return {
        "cloze": [right(q, x) for q, x in zip(asked, cloze, strict=True)],
        "cloze per byte": [right(q, per_byte(q, x)) for q, x in zip(asked, cloze, strict=True)],
        "cloze probability": [probability(q, x) for q, x in zip(asked, cloze, strict=True)],
        "letters": [right(q, x) for q, x in zip(asked, lettered, strict=True)],
        "letters probability": [probability(q, x) for q, x in zip(asked, lettered, strict=True)],
    }


def monotonicity(runs: Mapping[str, Sequence[int]], scores: np.ndarray) -> float:
    """Spearman's correlation of order and score, mean over runs; scores that never change tell nothing: 0."""
    found = [_correlation(stats.spearmanr, np.arange(len(places)), scores[list(places)]) for places in runs.values()]
    return float(np.mean(found))


def directness(runs: Mapping[str, Sequence[int]], scores: np.ndarray) -> float:
    """(last - first) / sum of |changes|: 1 where every step goes up, about 0 for noise."""
    found = []
    for places in runs.values():
        steps = np.diff(scores[list(places)])
        total = np.abs(steps).sum()
        found.append(float(steps.sum() / total) if total else 0.0)
    return float(np.mean(found))


def consistency(
    runs: Mapping[str, Sequence[int]], table: np.ndarray, order: np.ndarray, groups: Sequence[Sequence[int]]
) -> float:
    """Kendall's tau on random halves of the documents: of the runs' order at their first third and at their end,
    with three runs or more; else of the checkpoints' order by one half and by the other."""
    halves = [[i for g in part for i in groups[g]] for part in np.array_split(order, 2)]
    one, other = (table[:, half].mean(1) for half in halves)
    if len(runs) >= _LEAST:
        early = np.array([one[list(p)[: max(1, len(p) // 3)]].mean() for p in runs.values()])
        return _correlation(stats.kendalltau, early, np.array([other[p[-1]] for p in runs.values()]))
    return float(np.mean([_correlation(stats.kendalltau, one[list(p)], other[list(p)]) for p in runs.values()]))


def _correlation(function: Any, x: np.ndarray, y: np.ndarray) -> float:
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    return float(function(x, y).statistic)


def _gap(one: Mapping[str, Any], other: Mapping[str, Any], what: str, count: int) -> Number:
    """Of the two forms on the same draws of the documents."""
    low, high = np.percentile(one[f"{what} draws"] - other[f"{what} draws"], [2.5, 97.5])
    first: Number = one[f"{what} number"]
    second: Number = other[f"{what} number"]
    return Number(first.value - second.value, first.unit, float(low), float(high), count)


def _what(runs: Mapping[str, Sequence[int]]) -> str:
    return (
        "runs ranked early and at the end" if len(runs) >= _LEAST else "checkpoints ranked by two halves of the items"
    )


def _forms_table(judged: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = (
        Column("form"),
        Column("signal", "Spearman", "+.3f", "of place in training and score"),
        Column("low", format="+.3f"),
        Column("high", format="+.3f"),
        Column("directness", format="+.3f", help="net change over total change"),
        Column("gain", "points", "+.1f", "last checkpoint minus first"),
        Column("consistency", "Kendall", "+.3f"),
    )
    rows: list[tuple[Value, ...]] = []
    for form, j in judged.items():
        s: Number = j["signal number"]
        rows.append((form, s.value, s.low, s.high, j["directness"], 100 * j["gain"], j["consistency number"].value))
    return Table("Forms of the same questions", columns, tuple(rows))


def _scores_table(found: Sequence[Checkpoint], scores: Mapping[Checkpoint, Mapping[str, list[float]]]) -> Table:
    columns = (Column("checkpoint"), *(Column(form, "%", ".1f") for form in FORMS))
    rows: list[tuple[Value, ...]] = [
        (c.model, *(100 * float(np.mean(scores[c][form])) for form in FORMS)) for c in found
    ]
    return Table("Scores", columns, tuple(rows))


def _figure(found: Sequence[Checkpoint], scores: Mapping[Checkpoint, Mapping[str, list[float]]]) -> Figure:
    runs = by_run(found)
    lines = [
        Line(
            form if len(runs) == 1 else f"{form}, {Path(run).parent.name or run}",
            tuple(float(found[i].step) for i in places),
            tuple(100 * float(np.mean(scores[found[i]][form])) for i in places),
        )
        for run, places in runs.items()
        for form in FORMS
    ]
    return Figure("Score over training", "step", "%", tuple(lines), log_x=True)


def _rows(
    found: Sequence[Checkpoint], asked: Sequence[Question], scores: Mapping[Checkpoint, Mapping[str, list[float]]]
) -> list[dict[str, Any]]:
    return [
        {
            "model": c.model,
            "run": c.run,
            "step": c.step,
            "item": q.id,
            "doc": q.doc,
            **{f: scores[c][f][i] for f in FORMS},
        }
        for c in found
        for i, q in enumerate(asked)
    ]
