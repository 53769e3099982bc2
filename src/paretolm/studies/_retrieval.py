"""Passages found by words: Okapi BM25 (Robertson and Zaragoza 2009, section 3), and how much of a text came back."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import numpy as np

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


class Bm25:
    """k1: how soon a repeated word stops counting; b: how much long passages are held back. The inverse document
    frequency is Lucene's, which is never negative."""

    def __init__(self, passages: Sequence[str], k1: float = 1.5, b: float = 0.75) -> None:
        self._counts = [Counter(words(p)) for p in passages]
        self._k1, self._b = k1, b

    @cached_property
    def _lengths(self) -> np.ndarray:
        return np.array([sum(c.values()) for c in self._counts], dtype=float)

    @cached_property
    def _frequency(self) -> Counter[str]:
        return Counter(w for c in self._counts for w in c)

    def scores(self, query: str) -> np.ndarray:
        """Of every passage, [passages]."""
        held = self._k1 * (1 - self._b + self._b * self._lengths / max(1.0, self._lengths.mean()))
        found = np.zeros(len(self._counts))
        for word in words(query):
            known = self._frequency[word]
            if known:
                rarity = math.log(1 + (len(self._counts) - known + 0.5) / (known + 0.5))
                times = np.array([c[word] for c in self._counts], dtype=float)
                found += rarity * times * (self._k1 + 1) / (times + held)
        return found

    def best(self, query: str, count: int) -> list[int]:
        """Places of the best passages, best first; of equal ones the earlier."""
        return np.argsort(-self.scores(query), kind="stable")[:count].tolist()


def recovered(evidence: str, text: str) -> float:
    """Share of the evidence's words that stand in the text in their order: the longest common subsequence."""
    wanted, given = words(evidence), words(text)
    row = [0] * (len(given) + 1)
    for word in wanted:
        before = 0
        for i, other in enumerate(given, 1):
            before, row[i] = row[i], before + 1 if word == other else max(row[i], row[i - 1])
    return row[-1] / len(wanted) if wanted else 1.0
