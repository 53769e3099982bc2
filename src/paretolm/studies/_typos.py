"""Sentences of a text, and one planted typo in each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ..evaluation.source import Document

_SENTENCE = re.compile(r"(?<=[.!?] )[A-Z][A-Za-z ,;'-]*[.!?](?= |$)")
_WORD = re.compile(r"\b[a-z]{5,}\b")
_WORDS = range(8, 31)  # of a sentence
_TRIES = 50


@dataclass(frozen=True)
class Sentence:
    """before: the text up to it."""

    document: str
    before: str
    text: str


@dataclass(frozen=True)
class Typo:
    """text: with the typo at characters [start, end)."""

    sentence: Sentence
    text: str
    start: int
    end: int


def sentences(documents: Iterable[Document], characters: int) -> list[Sentence]:
    """Those of 8 to 30 words of plain letters; `characters` of the text before each."""
    found = []
    for document in documents:
        flat = " ".join(document.text.split())
        for match in _SENTENCE.finditer(flat):
            if len(match[0].split()) in _WORDS:
                before = flat[max(0, match.start() - characters) : match.start()].rstrip()
                found.append(Sentence(document.id, before, match[0]))
    return found


def known_words(documents: Iterable[Document]) -> frozenset[str]:
    return frozenset(w for d in documents for w in re.findall(r"[a-z]+", d.text.lower()))


def planted(given: Iterable[Sentence], known: frozenset[str], dice: np.random.Generator) -> Iterator[Typo]:
    """In a word of five letters or more, two neighbours swapped, or a letter left out, put in or replaced, so that no
    known word comes of it. Sentences without such a word are passed over."""
    for sentence in given:
        words = list(_WORD.finditer(sentence.text))
        if not words:
            continue
        word = words[dice.integers(len(words))]
        wrong = next((w for w in (_mistyped(word[0], dice) for _ in range(_TRIES)) if w not in known), None)
        if wrong is not None:
            text = sentence.text[: word.start()] + wrong + sentence.text[word.end() :]
            yield Typo(sentence, text, word.start(), word.start() + len(wrong))


def _mistyped(word: str, dice: np.random.Generator) -> str:
    at, letter = int(dice.integers(len(word) - 1)), chr(ord("a") + int(dice.integers(26)))
    match int(dice.integers(4)):
        case 0:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        case 1:
            return word[:at] + word[at + 1 :]
        case 2:
            return word[:at] + letter + word[at:]
        case _:
            return word[:at] + letter + word[at + 1 :]
