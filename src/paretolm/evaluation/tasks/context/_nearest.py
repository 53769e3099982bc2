"""The nearest example in words: what classification by overlap alone achieves."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def nearest(query: str, texts: Sequence[str]) -> int:
    """Index of the text most like the query: cosine of word counts weighted by rarity among the texts (tf-idf, idf
    ln((1 + n) / (1 + df)) + 1). The last of equals."""
    counts = [Counter(words(t)) for t in texts]
    seen = Counter(w for c in counts for w in c)
    rarity = {w: math.log((1 + len(texts)) / (1 + n)) + 1 for w, n in seen.items()}
    asked = Counter(w for w in words(query) if w in rarity)
    likeness = [_dot(asked, c, rarity) / (_length(c, rarity) or 1.0) for c in counts]
    return max(range(len(texts)), key=lambda i: (likeness[i], i))


def _dot(a: Mapping[str, int], b: Mapping[str, int], weight: Mapping[str, float]) -> float:
    return sum(n * b[w] * weight[w] ** 2 for w, n in a.items() if w in b)


def _length(counts: Mapping[str, int], weight: Mapping[str, float]) -> float:
    return math.sqrt(sum((n * weight[w]) ** 2 for w, n in counts.items()))
