"""How errors of text recognition pass through retrieval into answers.

Zhang et al. 2024 (OHRBench): a knowledge base is damaged by semantic noise (wrong words) and by formatting noise
(wrong layout) at several degrees; retrieval, answers from the right passage, and answers from what was retrieved are
scored. Where this leaves the paper: passages of given text with a planted fact each, or a retrieval set from a path,
stand for PDF documents read by real engines; retrieval is BM25 alone; the reader is the model at hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy import stats

from ..bench.records.keys import digest
from ..contracts import knob
from ..errors import TextError, UserError
from ..evaluation.metrics.answers import exact_match, f1, first_number
from ..evaluation.source import TextSource
from ..evaluation.streams import encode, separator, tokenizer_of
from ..evaluation.tasks._data import data_file, records
from ..evaluation.tasks.context.recall import LITERAL
from ..recipes.recipe import Recipe
from ..recipes.session import Session
from ..training.planted import PEOPLE
from ._ocr_noise import KINDS, noisy
from ._retrieval import Bm25, recovered
from .study import Column, Figure, Findings, Line, Number, Place, Study, Table, Value

if TYPE_CHECKING:
    from ..bridge.lm import LM

SCORES = ("retrieval", "evidence", "answer", "answer f1", "end to end")
_NEW_TOKENS = {True: 8, False: 24}  # for a planted number, and for an answer in words
_WORDS = 60  # of a passage


@dataclass(frozen=True)
class Query:
    """passage: the place of the right one; evidence: its part that holds the answer; planted: the answer is a
    number that the prompt asks for as the embedded models learned it."""

    id: str
    text: str
    prompt: str
    answers: tuple[str, ...]
    passage: int
    evidence: str
    planted: bool


@dataclass(frozen=True, kw_only=True)
class Ohrbench(Study):
    papers: ClassVar[tuple[str, ...]] = ("2412.02592",)
    models: ClassVar[tuple[int, int | None]] = (1, 1)

    path: str | None = knob(
        None, help="a folder with corpus.jsonl, queries.jsonl and qrels.jsonl; by default made of the text"
    )
    queries: int = knob(60, low=10, help="asked at most")
    levels: tuple[float, ...] = knob((0.05, 0.1, 0.2, 0.4), help="shares of words damaged, beside the clean text")
    top_k: int = knob(2, low=1, help="passages that are retrieved")
    resamples: int = knob(1000, low=100, help="of the queries, for intervals")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.levels or any(not 0 < x <= 1 for x in self.levels) or list(self.levels) != sorted(set(self.levels)):
            raise UserError(f"ohrbench: levels are shares of words above 0 and up to 1, rising, not {self.levels}")

    def sources(self) -> tuple[str, ...]:
        return (*super().sources(), "studies/_ocr_noise.py", "studies/_retrieval.py", "evaluation/metrics/answers.py")

    def run(self, at: Place) -> Findings:
        passages, asked = (
            from_folder(self.path, self.queries) if self.path else from_text(at.source, self.queries, self.seed)
        )
        (model,) = at.models
        base = {"model": at.content(model), "set": digest([passages, [q.__dict__ for q in asked]])}
        loaded: list[LM] = []  # once, and only where something is left to do
        found: dict[tuple[str, float], list[dict[str, float]]] = {}
        for kind, level in [("clean", 0.0), *((k, x) for k in KINDS for x in self.levels)]:
            at.progress.note(f"{kind} noise, {level:.0%} of the words: {len(asked)} queries")
            work = partial(self._asked, at, model, loaded, passages, asked, kind, level)
            found[kind, level] = at.once(self, base | {"kind": kind, "level": level}, work)
        return self._findings(asked, found)

    def _asked(
        self,
        at: Place,
        model: str,
        loaded: list[LM],
        passages: Sequence[str],
        asked: Sequence[Query],
        kind: str,
        level: float,
    ) -> list[dict[str, float]]:
        """Scores of each query over one damaged knowledge base."""
        if not loaded:
            loaded.append(at.load(model))
        given = passages
        if level:
            given = [noisy(p, kind, level, self.seed * 100_003 + i) for i, p in enumerate(passages)]
        index = Bm25(given)
        with Session.open(loaded[0], Recipe()) as session:
            reader = Reader(loaded[0], session)
            return [self._one(reader, q, given, index.best(q.text, self.top_k)) for q in asked]

    def _one(self, reader: Reader, query: Query, passages: Sequence[str], best: Sequence[int]) -> dict[str, float]:
        right, f1_right = reader.ask(query, [passages[query.passage]])
        end, _ = reader.ask(query, [passages[i] for i in best])
        back = recovered(query.evidence, "\n".join(passages[i] for i in best))
        values = (float(query.passage in best), back, right, f1_right, end)
        return dict(zip(SCORES, values, strict=True))

    def _findings(
        self, asked: Sequence[Query], found: Mapping[tuple[str, float], Sequence[Mapping[str, float]]]
    ) -> Findings:
        numbers = {}
        for kind in KINDS:
            for score in ("retrieval", "evidence", "answer", "end to end"):
                table = np.array([[q[score] for q in found[key]] for key in self._series(kind)])
                numbers[f"{kind} noise: {score}"] = self._trend(table)
                numbers[f"{kind} noise: loss of {score}"] = self._loss(table)
        return Findings(
            tables=(_table(found),),
            figures=tuple(self._figure(kind, found) for kind in KINDS),
            numbers=numbers,
            notes=(
                f"{len(asked)} queries; retrieval: the right passage is among the best {self.top_k} by BM25; evidence: "
                "share of its words that came back in order; answer: from the right passage as damaged; end to end: "
                "from what was retrieved.",
                "Trend: Spearman's correlation of noise and mean score; its interval resamples the queries.",
            ),
            rows=[
                {"kind": kind, "level": level, "query": q.id, **scores}
                for (kind, level), each in found.items()
                for q, scores in zip(asked, each, strict=True)
            ],
        )

    def _series(self, kind: str) -> list[tuple[str, float]]:
        return [("clean", 0.0), *((kind, x) for x in self.levels)]

    def _draws(self, table: np.ndarray) -> list[np.ndarray]:
        rng = np.random.default_rng(self.seed)
        size = table.shape[1]
        return [table[:, rng.integers(size, size=size)].mean(1) for _ in range(self.resamples)]

    def _trend(self, table: np.ndarray) -> Number:
        low, high = np.percentile([trend(means) for means in self._draws(table)], [2.5, 97.5])
        return Number(trend(table.mean(1)), "rank correlation", float(low), float(high), table.shape[1])

    def _loss(self, table: np.ndarray) -> Number:
        losses = [100 * (means[0] - means[-1]) for means in self._draws(table)]
        low, high = np.percentile(losses, [2.5, 97.5])
        means = table.mean(1)
        return Number(100 * float(means[0] - means[-1]), "points", float(low), float(high), table.shape[1])

    def _figure(self, kind: str, found: Mapping[tuple[str, float], Sequence[Mapping[str, float]]]) -> Figure:
        x = (0.0, *(100 * level for level in self.levels))
        lines = [
            Line(score, x, tuple(100 * _mean([q[score] for q in found[key]]) for key in self._series(kind)))
            for score in SCORES
        ]
        return Figure(f"{kind.capitalize()} noise", "words damaged, %", "score, %", tuple(lines))


class Reader:
    """The model as the reader of passages."""

    def __init__(self, lm: LM, session: Session) -> None:
        self._lm, self._session, self._tokenizer = lm, session, tokenizer_of(lm)

    def ask(self, query: Query, passages: Sequence[str]) -> tuple[float, float]:
        """(exact match, F1). A prompt too long for the model loses its beginning."""
        room = _NEW_TOKENS[query.planted]
        text = "\n\n".join([*passages, query.prompt])
        ids = encode(self._tokenizer, text)[0][-(self._lm.view.trained_length - room - 1) :]
        answer = self._session.generate([*separator(self._tokenizer, first=True), *ids], max_new_tokens=room).text or ""
        if query.planted:
            right = float(first_number(answer) == query.answers[0])
            return right, right
        first = answer.strip().partition("\n")[0]
        return float(exact_match(first, query.answers)), f1(first, query.answers)


def from_text(source: TextSource, count: int, seed: int) -> tuple[list[str], list[Query]]:
    """Passages of the text, each with a fact about another person in its middle; one query a person. Raises TextError."""
    rng = np.random.default_rng(seed)
    people = [PEOPLE[i] for i in rng.permutation(len(PEOPLE)).tolist()]
    keys = (rng.choice(9000, len(people), replace=False) + 1000).astype(str).tolist()
    pieces = [p for d in source.eval_documents for p in _pieces(d.text)]
    if len(pieces) < len(people):
        raise TextError(f"{source.name} makes {len(pieces)} passages of {_WORDS} words; {len(people)} are needed")
    chosen = [pieces[i] for i in rng.permutation(len(pieces))[: len(people)].tolist()]
    statement, question = LITERAL[0]
    passages, asked = [], []
    for place, (name, key, piece) in enumerate(zip(people, keys, chosen, strict=True)):
        fact = statement.format(name=name, key=key)
        half = len(piece) // 2
        passages.append(" ".join([*piece[:half], fact, *piece[half:]]))
        prompt = question.format(name=name)
        asked.append(Query(name, f"the key of {name}", prompt, (key,), place, fact, True))
    return passages, asked[:count]


def _pieces(text: str) -> list[list[str]]:
    found = text.split()
    return [found[i : i + _WORDS] for i in range(0, len(found) - _WORDS + 1, _WORDS)]


def from_folder(path: str, count: int) -> tuple[list[str], list[Query]]:
    """A retrieval set: corpus (id, title, text), queries (id, text, answers), qrels (query, passage). Raises TextError."""
    place = Path(path).expanduser()
    help_ = "ohrbench(path=...) is a folder with corpus.jsonl, queries.jsonl and qrels.jsonl"
    corpus, queries, qrels = (records(data_file(place, stem), help_) for stem in ("corpus", "queries", "qrels"))
    places = {r.id: i for i, r in enumerate(corpus)}
    passages = [" ".join(filter(None, (r.optional("title"), r.text("text")))) for r in corpus]
    right = {r.text("query"): r.text("passage") for r in qrels}
    asked = []
    for r in queries:
        if right.get(r.id) not in places:
            raise TextError(f"{r.where}: query {r.id} has no passage in qrels.jsonl that corpus.jsonl holds")
        passage, answers = places[right[r.id]], r.texts("answers")
        prompt = f"Question: {r.text('text')}?\nAnswer:"
        evidence = next((a for a in answers if a.lower() in passages[passage].lower()), answers[0])
        asked.append(Query(r.id, r.text("text"), prompt, answers, passage, evidence, False))
    return passages, asked[:count]


def trend(means: np.ndarray) -> float:
    """Spearman's correlation of the level of noise with the score; 0 where the score never changes."""
    return 0.0 if np.ptp(means) == 0 else float(stats.spearmanr(np.arange(len(means)), means).statistic)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _table(found: Mapping[tuple[str, float], Sequence[Mapping[str, float]]]) -> Table:
    columns = (Column("noise"), Column("words damaged", "%", ".0f"), *(Column(s, "%", ".1f") for s in SCORES))
    rows: list[tuple[Value, ...]] = [
        (kind, 100 * level, *(100 * _mean([q[s] for q in each]) for s in SCORES))
        for (kind, level), each in found.items()
    ]
    return Table("Noise in the knowledge base", columns, tuple(rows))
