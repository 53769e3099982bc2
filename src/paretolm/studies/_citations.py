"""Is a citation really in a text? Exactly, or with few letters changed (YourBench, 2504.01833, section 2.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

NEAR = 0.85  # likeness from which a citation counts, the paper's threshold


def distance_to_part(pattern: str, text: str) -> int:
    """The fewest letters to insert, delete or change so that the pattern is a part of the text (Sellers 1980)."""
    letters = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    places = np.arange(len(letters) + 1)
    row = np.zeros(len(letters) + 1, dtype=np.int64)  # the empty pattern is a part of anything, wherever it ends
    for number, letter in enumerate(pattern, 1):
        best = np.minimum(row[1:] + 1, row[:-1] + (letters != ord(letter)))
        best = np.concatenate([[number], best])
        row = np.minimum.accumulate(best - places) + places  # text letters left over
    return int(row.min())


def likeness(citation: str, text: str) -> float:
    """1 for a citation that stands in the text letter by letter, 0 where nothing of it does."""
    if not citation:
        return 0.0
    if citation in text:
        return 1.0
    return max(0.0, 1 - distance_to_part(_plain(citation), _plain(text)) / len(_plain(citation)))


def cited(citations: Sequence[str], doc: str, texts: Mapping[str, str]) -> float:
    """Mean likeness of citations to the document they name, or where it is none of ours to the nearest of all."""
    if not citations:
        return 0.0
    return float(np.mean([max(likeness(c, text) for text in _places(doc, texts)) for c in citations]))


def stands(citations: Sequence[str], doc: str, texts: Mapping[str, str]) -> bool:
    """Whether every citation stands there letter by letter."""
    return all(any(c in text for text in _places(doc, texts)) for c in citations)


def _places(doc: str, texts: Mapping[str, str]) -> list[str]:
    return [texts[doc]] if doc in texts else list(texts.values())


def _plain(text: str) -> str:
    """Other white space is no other letter."""
    return " ".join(text.split()) or " "
