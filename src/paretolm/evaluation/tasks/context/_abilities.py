"""Short items into long contexts: ten tasks of the five abilities, and what reading the gold spans alone gives.

Each task makes a context of numbered documents and a question at its end; gold names the documents that hold all
the answer needs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ._short_sets import Piece, ShortSet, by_label

LABELS = 6  # categories in one context at most
_HALF = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Draft:
    """documents: numbers and texts; gold: indices of documents; answers: accepted ones, or the numbers of a list."""

    documents: tuple[tuple[str, str], ...]
    question: str
    answers: tuple[str, ...]
    gold: tuple[int, ...]
    hint: str = ""  # stands before the question


@dataclass(frozen=True)
class ShortTask:
    """needs: kind of set; usable: pieces it can ask about; make: (pieces of the context, index of the piece asked
    about, numbers of documents, dice) -> draft. single: one document is asked about, so that it has a depth."""

    name: str
    ability: str
    needs: str
    usable: Callable[[Piece], bool]
    make: Callable[[Sequence[Piece], int, Sequence[str], np.random.Generator], Draft]
    single: bool = True

    def draft(self, found: ShortSet, size: int, depth: float, rng: np.random.Generator) -> Draft:
        """A context of `size` documents; the one asked about stands at the depth, 0 is first."""
        pieces = self._drawn(found, size, rng)
        target = round(depth * (len(pieces) - 1))
        if self.single:
            first = next(i for i, p in enumerate(pieces) if self.usable(p))
            pieces[target], pieces[first] = pieces[first], pieces[target]
        return self.make(pieces, target, _numbers(len(pieces), rng), rng)

    def _drawn(self, found: ShortSet, size: int, rng: np.random.Generator) -> list[Piece]:
        pieces = list(found.pieces)
        if found.kind == "requests":
            groups = by_label(pieces)
            kept = rng.permutation(len(groups))[:LABELS]
            pieces = [p for i in kept.tolist() for p in list(groups.values())[i]]
        elif not self.single:
            pieces = [p for p in pieces if self.usable(p)]
        order = rng.permutation(len(pieces)).tolist()
        drawn = [pieces[i] for i in order[:size]]
        if self.single and not any(map(self.usable, drawn)):
            drawn[0] = next(pieces[i] for i in order if self.usable(pieces[i]))
        return drawn


def tasks_for(found: ShortSet) -> list[ShortTask]:
    """The tasks whose items this set can give."""
    return [t for t in TASKS if t.needs == found.kind and any(map(t.usable, found.pieces))]


def _numbers(count: int, rng: np.random.Generator) -> list[str]:
    """Different document numbers of six signs, so that none is known by its place."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[rng.bytes(3).hex().upper()] = None
    return list(found)


def _plain(pieces: Sequence[Piece], numbers: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple((n, p.text) for n, p in zip(numbers, pieces, strict=True))


def _categories(pieces: Sequence[Piece]) -> str:
    return "Categories: " + ", ".join(sorted({p.label for p in pieces}))


def _classify(pieces: Sequence[Piece], target: int, numbers: Sequence[str], rng: np.random.Generator) -> Draft:
    asked = f"Which category does document {numbers[target]} belong to?"
    return Draft(_plain(pieces, numbers), asked, (pieces[target].label,), (target,), _categories(pieces))


def _topic(pieces: Sequence[Piece], target: int, numbers: Sequence[str], rng: np.random.Generator) -> Draft:
    shown = tuple((n, f"Topic: {p.label or 'none'}. {p.text}") for n, p in zip(numbers, pieces, strict=True))
    return Draft(shown, f"What is the topic of document {numbers[target]}?", (pieces[target].label,), (target,))


def _named(pieces: Sequence[Piece], target: int, numbers: Sequence[str], rng: np.random.Generator) -> Draft:
    question, answers = pieces[target].asks[rng.integers(len(pieces[target].asks))]
    return Draft(_plain(pieces, numbers), f"Answer from document {numbers[target]}: {question}", answers, (target,))


def _answer(pieces: Sequence[Piece], target: int, numbers: Sequence[str], rng: np.random.Generator) -> Draft:
    question, answers = pieces[target].asks[rng.integers(len(pieces[target].asks))]
    return Draft(_plain(pieces, numbers), question, answers, (target,))


def _find(pieces: Sequence[Piece], target: int, numbers: Sequence[str], rng: np.random.Generator) -> Draft:
    question, _ = pieces[target].asks[rng.integers(len(pieces[target].asks))]
    asked = f"Give the number of the document that answers this: {question}"
    return Draft(_plain(pieces, numbers), asked, (numbers[target],), (target,))


def _goes_on(pieces: Sequence[Piece], target: int, numbers: Sequence[str], rng: np.random.Generator) -> Draft:
    shown = tuple((n, halves(p.text)[1] or p.text) for n, p in zip(numbers, pieces, strict=True))
    asked = f"Give the number of the document that continues this text: {halves(pieces[target].text)[0]}"
    return Draft(shown, asked, (numbers[target],), (target,))


def _quiz(pieces: Sequence[Piece], target: int, numbers: Sequence[str], rng: np.random.Generator) -> Draft:
    asked = f"Which letter is the right answer to the question of document {numbers[target]}?"
    return Draft(_plain(pieces, numbers), asked, (pieces[target].label,), (target,))


def _of_class(pieces: Sequence[Piece], rng: np.random.Generator) -> tuple[str, tuple[int, ...]]:
    """A category, with several documents where one has so many, and its documents."""
    counts = Counter(p.label for p in pieces)
    several = sorted(x for x, n in counts.items() if n > 1) or sorted(counts)
    label = several[rng.integers(len(several))]
    return label, tuple(i for i, p in enumerate(pieces) if p.label == label)


def _list(pieces: Sequence[Piece], target: int, numbers: Sequence[str], rng: np.random.Generator) -> Draft:
    label, gold = _of_class(pieces, rng)
    asked = f"Give the numbers of all documents of the category {label}."
    listed = ", ".join(numbers[i] for i in gold)
    return Draft(_plain(pieces, numbers), asked, (listed,), gold, _categories(pieces))


def _count(pieces: Sequence[Piece], target: int, numbers: Sequence[str], rng: np.random.Generator) -> Draft:
    label, gold = _of_class(pieces, rng)
    asked = f"How many documents belong to the category {label}?"
    return Draft(_plain(pieces, numbers), asked, (str(len(gold)),), gold, _categories(pieces))


def _most(pieces: Sequence[Piece], target: int, numbers: Sequence[str], rng: np.random.Generator) -> Draft:
    """One category has more documents than every other: of those as large, others lose one."""
    counts = Counter(p.label for p in pieces)
    (label, most), *others = counts.most_common()
    equal = {x for x, n in others if n == most}
    kept = [i for i, p in enumerate(pieces) if p.label not in equal or _seen(pieces, i) < most]
    left = [pieces[i] for i in kept]
    asked = "Which category do most of the documents belong to?"
    return Draft(_plain(left, numbers[: len(left)]), asked, (label,), tuple(range(len(left))), _categories(left))


def _seen(pieces: Sequence[Piece], index: int) -> int:
    return sum(p.label == pieces[index].label for p in pieces[: index + 1])


def halves(text: str) -> tuple[str, str]:
    """Cut at the end of the sentence nearest the middle; the second is empty where there is one sentence."""
    cuts = [m.start() for m in _HALF.finditer(text)]
    at = min(cuts, key=lambda i: abs(i - len(text) / 2), default=len(text))
    return text[:at], text[at:].strip()


def solved(task: str, spans: Sequence[str], question: str, found: ShortSet) -> str:
    """The answer from the documents of the gold spans alone, by whoever knows the short set."""
    documents = [span.removeprefix("Document ").split(": ", 1) for span in spans]
    known = {p.text: p for p in found.pieces}
    number, text = documents[0]
    answers: dict[str, Callable[[], str]] = {
        "classify": lambda: known[text].label,
        "quiz": lambda: known[text].label,
        "list": lambda: ", ".join(n for n, _ in documents),
        "count": lambda: str(len(documents)),
        "most": lambda: Counter(known[t].label for _, t in documents).most_common(1)[0][0],
        "topic": lambda: next(p.label for p in found.pieces if text == f"Topic: {p.label}. {p.text}"),
        "answer": lambda: next(a[0] for q, a in known[text].asks if question.endswith(q)),
        "answer-from": lambda: next(a[0] for q, a in known[text].asks if question.endswith(q)),
        "find": lambda: number,
        "continue": lambda: number,
    }
    return answers[task]()


TASKS = (
    ShortTask("classify", "explicit single", "requests", lambda p: True, _classify),
    ShortTask("list", "explicit multiple", "requests", lambda p: True, _list, single=False),
    ShortTask("count", "semantic multiple", "requests", lambda p: True, _count, single=False),
    ShortTask("most", "global", "requests", lambda p: True, _most, single=False),
    ShortTask("topic", "explicit single", "passages", lambda p: bool(p.label), _topic),
    ShortTask("answer-from", "explicit single", "passages", lambda p: bool(p.asks), _named),
    ShortTask("answer", "semantic single", "passages", lambda p: bool(p.asks), _answer),
    ShortTask("find", "semantic single", "passages", lambda p: bool(p.asks), _find),
    ShortTask("continue", "semantic single", "passages", lambda p: bool(halves(p.text)[1]), _goes_on),
    ShortTask("quiz", "explicit single", "quizzes", lambda p: True, _quiz),
)
