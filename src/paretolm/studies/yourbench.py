"""A benchmark from a folder of text: questions with citations that hold, and the models ranked by them.

Shashidhar et al. 2025 (YourBench). Where this leaves the paper: no large model writes the questions. A rule leaves
out a name, a number or an uncommon word of a sentence and offers three others of the folder in its place; the model
is asked which is most likely. Such questions test how well a model reads on, and what it knows, not reasoning over
several passages. Questions that another tool or model wrote are taken by `questions`, and go through the same checks:
citations by their nearest part in the text (from a likeness of 0.85 on), groups of like questions by the words they
share (tf-idf, where the paper compares sentence embeddings) as one question with a weight.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy import stats

from ..bench.records.keys import digest
from ..cards.judged import judged
from ..contracts import knob
from ..errors import TextError
from ..evaluation import statistics as st
from ..evaluation.source import TextSource
from ..evaluation.tasks import make
from ..evaluation.tasks._data import records
from ..files import write_asked
from ._citations import NEAR, cited, stands
from ._cloze import Asked, distinct, written
from ._questions import Question, log_likelihoods, probability, right
from .study import Column, Findings, Number, Place, Study, Table, Value

FILE = "yourbench.questions.jsonl"
_RESAMPLES = 2000
_PAGES = 4  # documents of the embedded text that bits per byte are taken of


@dataclass(frozen=True, kw_only=True)
class Yourbench(Study):
    """YourBench: Easy Custom Evaluation Sets for Everyone (2504.01833).

    yourbench.questions.jsonl has a line a question: id, doc, kind, question, choices, answer, citations, start (where
    in the document the citation stands), weight. `openbookqa(path=...)` and other tasks read it."""

    papers: ClassVar[tuple[str, ...]] = ("2504.01833",)

    questions: str | None = knob(None, help="questions with citations that were written elsewhere, JSON lines")
    limit: int = knob(1000, low=20, help="questions asked, drawn by seed")
    context: int = knob(40, low=0, help="words before its sentence that a question shows")
    order: str = knob(
        "bits",
        choices=("bits", "typed"),
        help="the known order: bits per byte of the embedded text, or as typed, the weakest first",
    )

    def sources(self) -> tuple[str, ...]:
        return (*super().sources(), *(f"studies/{n}.py" for n in ("_citations", "_cloze", "_questions")))

    def run(self, at: Place) -> Findings:
        texts = {d.id: d.text for d in at.source.documents}
        given = self._brought(at) if self.questions else written(at.source.documents, self.context, self.seed)
        likes = [cited(q.citations, q.doc, texts) for q in given]
        valid = [q for q, like in zip(given, likes, strict=True) if like >= NEAR]
        kept = distinct(valid)
        if not kept:
            raise TextError(
                f"{at.source.name} gives no questions: {len(given)} were written, {len(valid)} of them with citations "
                "that hold; give more text"
            )
        asked = [kept[i] for i in _drawn(len(kept), self.limit, self.seed)]
        file = _write(at.output / FILE, asked)
        scores = [self._scores(at, model, asked, i) for i, model in enumerate(at.models)]
        bits = [] if self.order == "typed" else [self._bits(at, model) for model in at.models]
        counts = {"written": len(given), "citations hold": len(valid), "different": len(kept), "asked": len(asked)}
        verbatim = [stands(q.citations, q.doc, texts) for q in asked]
        return self._findings(at, asked, scores, bits, counts, 100 * float(np.mean(verbatim)), file)

    def _brought(self, at: Place) -> list[Asked]:
        """Questions from elsewhere. Raises TextError for a line that lacks something."""
        found = []
        for r in records(
            Path(self.questions or "").expanduser(), "its lines have question, choices, answer, citations"
        ):
            choices = r.texts("choices", 2)
            doc = str(r.fields.get("doc") or "")
            answer = r.index("answer", len(choices))
            found.append(Asked(r.id, doc, "brought", r.text("question"), choices, answer, r.texts("citations")))
        return found

    # --- models ---

    def _scores(self, at: Place, model: str, asked: Sequence[Asked], number: int) -> list[list[float]]:
        """Of each question: right or not, and the right choice's probability among the choices."""
        at.progress.note(f"model {number + 1} of {len(at.models)}: {model}")
        put = [Question(a.id, a.doc, a.question, a.choices, a.answer) for a in asked]
        unit = {"model": at.content(model), "asked": digest([a.fields() for a in asked])}

        def work() -> list[list[float]]:
            found = log_likelihoods(at.load(model), put, "cloze")
            return [[right(q, lls), probability(q, lls)] for q, lls in zip(put, found, strict=True)]

        scores: list[list[float]] = at.once(self, unit, work)
        return scores

    def _bits(self, at: Place, model: str) -> float:
        """Bits per byte of a few documents that are the same for every folder."""

        def work() -> float:
            rows = judged(at.load(model), make("rolling-perplexity", limit=_PAGES), TextSource.open())
            bits = [r for r in rows if r.metric == "bits_per_byte"]
            return sum(r.value * r.weight for r in bits) / sum(r.weight for r in bits)

        found: float = at.once(self, {"model": at.content(model), "bits": TextSource.open().data_hash}, work)
        return found

    # --- findings ---

    def _findings(
        self,
        at: Place,
        asked: Sequence[Asked],
        scores: Sequence[Sequence[Sequence[float]]],
        bits: Sequence[float],
        counts: dict[str, int],
        verbatim: float,
        file: Path,
    ) -> Findings:
        hits = np.array(scores)[:, :, 0]  # [models, questions]
        better = np.array([-b for b in bits]) if bits else np.arange(len(at.models), dtype=float)
        numbers = {
            "citations that stand in the text letter by letter": Number(verbatim, "%", n=len(asked)),
            "chance": Number(float(np.mean([1 / len(a.choices) for a in asked]))),
        }
        if len(at.models) > 2:
            numbers |= agreement(hits, better, _works(at, asked), self.seed)
        rows = [
            q.fields() | {"model": model, "right": s[0], "probability": s[1]}
            for model, own in zip(at.models, scores, strict=True)
            for q, s in zip(asked, own, strict=True)
        ]
        steps = ", ".join(f"{n} {what}" for what, n in counts.items())
        known = (
            "bits per byte of the embedded text" if bits else "the order in which they were typed, the weakest first"
        )
        notes = (
            f"Questions: {steps}. They are in {file}; ask them of any recipe with openbookqa(path={file}).",
            f"The known order of models is {known}.",
            "A rule wrote the questions, no model: they ask how a sentence goes on."
            if not self.questions
            else "The questions were brought; their citations are checked here.",
            *at.source.notes,
        )
        tables = _ranks(at.models, _works(at, asked), np.array(scores), bits), _kinds(at.models, asked, hits)
        return Findings(tables, (), numbers, notes, rows)


def agreement(hits: np.ndarray, better: np.ndarray, docs: Sequence[str], seed: int) -> dict[str, Number]:
    """Spearman's correlation of accuracy with the known order, and how it fares when documents are drawn again."""
    names = sorted(set(docs))
    places = np.array([names.index(d) for d in docs])
    sums = np.array([np.bincount(places, own, len(names)) for own in hits])
    sizes = np.bincount(places, minlength=len(names)).astype(float)
    rng = np.random.default_rng(seed)
    drawn_ = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), _RESAMPLES)
    found = [spearman((sums @ w) / (sizes @ w), better) for w in drawn_]
    low, high = np.percentile(found, [2.5, 97.5])
    rank = spearman(hits.mean(1), better)
    same = float(np.mean(np.array(found) > 1 - 1e-9))
    return {
        "Spearman's correlation with the known order": Number(
            rank, "", float(low), float(high), len(names), "documents"
        ),
        "resampled folders that rank as known": Number(100 * same, "%", n=_RESAMPLES),
    }


def _works(at: Place, asked: Sequence[Asked]) -> list[str]:
    """What each question's document is a part of: the clusters of scores."""
    works = {d.id: d.work for d in at.source.documents}
    return [works.get(a.doc, a.doc) for a in asked]


def spearman(ours: np.ndarray, known: np.ndarray) -> float:
    """Of ranks, ties at their mean; 0 where one side does not differ at all."""
    a, b = stats.rankdata(ours), stats.rankdata(known)
    if not a.std() or not b.std():
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(models: Sequence[str], works: Sequence[str], scores: np.ndarray, bits: Sequence[float]) -> Table:
    columns = (
        Column("model"),
        Column("right", "%", ".1f"),
        Column("low", "%", ".1f", "95% interval, documents are clusters"),
        Column("high", "%", ".1f"),
        Column("probability", "", ".3f", "of the right choice among the choices, mean"),
        Column("bits", "bits/byte", ".3f", "of the embedded text"),
    )
    rows: list[tuple[Value, ...]] = []
    for i in np.argsort(-scores[:, :, 0].mean(1), kind="stable").tolist():
        hits = scores[i, :, 0]
        low, high = st.share_interval(st.clustered(hits.tolist(), [1.0] * len(works), works))
        told = bits[i] if bits else None
        rows.append((models[i], 100 * hits.mean(), 100 * low, 100 * high, float(scores[i, :, 1].mean()), told))
    return Table("Models, the best first", columns, tuple(rows))


def _kinds(models: Sequence[str], asked: Sequence[Asked], hits: np.ndarray) -> Table:
    kinds = sorted({a.kind for a in asked})
    columns = (Column("left out"), Column("questions"), *(Column(m, "%", ".1f") for m in models))
    rows: list[tuple[Value, ...]] = []
    for kind in kinds:
        own = np.array([a.kind == kind for a in asked])
        rows.append((kind, int(own.sum()), *(float(100 * h) for h in hits[:, own].mean(1))))
    return Table("Right answers by what is left out", columns, tuple(rows))


def _drawn(count: int, limit: int, seed: int) -> list[int]:
    """Places of those asked, in their order."""
    return sorted(np.random.default_rng(seed).permutation(count)[:limit].tolist())


def _write(file: Path, asked: Sequence[Asked]) -> Path:
    """Raises StoreError."""
    lines = (json.dumps(a.fields(), ensure_ascii=False) for a in asked)
    return write_asked(file, "".join(f"{line}\n" for line in lines), "another -o")
