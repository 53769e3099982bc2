"""Questions written by rule: a name, number or word of a sentence is left out, among others of its kind.

Each question cites the sentence it is about, by document and place, so that it can be looked up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from ..evaluation.source import Document

CHOICES = 4
_CLOSED = r"[.!?]+[\"')\]”’]*(?=\s|$)"  # a full stop within a number or a name ends nothing
_SENTENCE = re.compile(rf"(?<!\S)\S(?:[^.!?]|[.!?](?![.!?\"')\]”’]*(?:\s|$)))*{_CLOSED}")
_KINDS = (
    ("name", re.compile(r"(?<=[a-z,;] )[A-Z][a-z]{2,}(?: [A-Z][a-z]{2,})*\b")),
    ("number", re.compile(r"(?<=[a-z,;] )\d[\d,.]*\d\b")),
    ("word", re.compile(r"(?<=[a-z,;] )[a-z]{5,}\b")),
)
_WORDS = (8, 60)  # of a sentence
_LONGEST = 30  # characters of a word, with the space before it
_BEFORE = 4  # words of a sentence before what is left out, at least
_SAME = 0.9  # cosine from which two questions ask the same, the paper's threshold
_COMMON = 0.002  # of all words: too frequent to ask for


@dataclass(frozen=True)
class Asked:
    """question: context and the sentence up to what is left out; answer: the place of the right choice; start: where
    the citation begins in the document; weight: how many questions like this one were written."""

    id: str
    doc: str
    kind: str
    question: str
    choices: tuple[str, ...]
    answer: int
    citations: tuple[str, ...]
    start: int = 0
    weight: int = 1

    def fields(self) -> dict[str, Any]:
        """As our tasks of multiple choice, and others that read this layout, take it."""
        kept = {name: getattr(self, name) for name in ("id", "doc", "kind", "question", "answer", "start", "weight")}
        return kept | {"choices": list(self.choices), "citations": list(self.citations)}


@dataclass(frozen=True)
class _Span:
    doc: str
    kind: str
    text: str
    shape: str
    before: str
    citation: str
    start: int


def written(documents: Sequence[Document], context: int, seed: int) -> list[Asked]:
    """One question a sentence, where there are enough others of the kind to mislead. context: words before it."""
    common = _common(documents)
    spans = [span for d in documents for span in _spans(d, context, common)]
    known = _by_kind(spans)
    rng = np.random.default_rng(seed)
    found = []
    for span in spans:
        wrong = _others(span, known, rng)
        if len(wrong) == CHOICES - 1:
            answer = int(rng.integers(CHOICES))
            choices = (*wrong[:answer], span.text, *wrong[answer:])
            name = f"{span.doc}@{span.start}"
            found.append(Asked(name, span.doc, span.kind, span.before, choices, answer, (span.citation,), span.start))
    return found


def _common(documents: Sequence[Document]) -> frozenset[str]:
    counts = Counter(w for d in documents for w in re.findall(r"[a-z]+", d.text.lower()))
    least = max(3, _COMMON * sum(counts.values()))
    return frozenset(w for w, n in counts.items() if n >= least)


def _spans(document: Document, context: int, common: frozenset[str]) -> Iterator[_Span]:
    for match in _SENTENCE.finditer(document.text):
        sentence = match[0]
        if not _WORDS[0] <= len(sentence.split()) <= _WORDS[1]:
            continue
        found = _left_out(sentence, common)
        if found is not None:
            kind, at = found
            before = document.text[max(0, match.start() - context * _LONGEST) : match.start()].split()
            question = " ".join([*before[len(before) - min(len(before), context) :], *sentence[: at.start()].split()])
            yield _Span(document.id, kind, at[0], _shape(kind, at[0]), question, sentence, match.start())


def _left_out(sentence: str, common: frozenset[str]) -> tuple[str, re.Match[str]] | None:
    """The last name, else number, else word that is not common: what comes late is settled by what stands before."""
    for kind, pattern in _KINDS:
        found = [m for m in pattern.finditer(sentence) if len(sentence[: m.start()].split()) >= _BEFORE]
        found = [m for m in found if kind != "word" or m[0] not in common]
        if found:
            return kind, found[-1]
    return None


def _shape(kind: str, text: str) -> str:
    """What a wrong choice must share: words of a name, digits of a number, ending of a word."""
    if kind == "name":
        return str(len(text.split()))
    return re.sub(r"\d", "0", text) if kind == "number" else text[-2:]


def _by_kind(spans: Sequence[_Span]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for span in spans:
        known = found.setdefault((span.kind, span.shape), [])
        if span.text not in known:
            known.append(span.text)
    return found


def _others(span: _Span, known: Mapping[tuple[str, str], Sequence[str]], rng: np.random.Generator) -> list[str]:
    """Wrong choices of the same shape that the question does not name itself."""
    pool = [t for t in known[span.kind, span.shape] if t != span.text and t not in span.before]
    if len(pool) < CHOICES - 1:
        return []
    return [pool[i] for i in rng.choice(len(pool), CHOICES - 1, replace=False)]


def distinct(asked: Sequence[Asked]) -> list[Asked]:
    """One of each group of questions alike (cosine of tf-idf weights over 0.9, directly or by way of others), with
    the group's size as its weight."""
    if not asked:
        return []
    rows = _tf_idf([f"{a.question} {a.choices[a.answer]}" for a in asked])
    near = (rows @ rows.T) > _SAME
    count, labels = sparse.csgraph.connected_components(near, directed=False)
    first = [int(np.flatnonzero(labels == group)[0]) for group in range(count)]
    sizes = np.bincount(labels)
    return [replace(asked[i], weight=int(sizes[labels[i]])) for i in sorted(first)]


def _tf_idf(texts: Sequence[str]) -> Any:
    """Rows of length 1 [n, words], sparse."""
    words = [re.findall(r"\w+", t.lower()) for t in texts]
    places = {w: i for i, w in enumerate(sorted({w for ws in words for w in ws}))}
    rows = [i for i, ws in enumerate(words) for _ in ws]
    columns = [places[w] for ws in words for w in ws]
    counts = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(texts), max(1, len(places))))
    held = np.asarray((counts > 0).sum(0)).ravel()
    weighted = counts.multiply(np.log((1 + len(texts)) / (1 + held)) + 1).tocsr()
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1)).ravel())
    return sparse.diags(1 / np.where(lengths > 0, lengths, 1.0)) @ weighted
