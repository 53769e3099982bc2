"""ROUGE (Lin 2004): what a summary shares with a reference. F with equal weights; words are runs of letters and
digits in lower case, without stemming, as rouge-score has them by default."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence


def rouge_1(text: str, reference: str) -> float:
    """F of single words."""
    found, wanted = _words(text), _words(reference)
    return _f(sum((Counter(found) & Counter(wanted)).values()), len(found), len(wanted))


def rouge_l(text: str, reference: str) -> float:
    """F of the longest common subsequence of words."""
    found, wanted = _words(text), _words(reference)
    return _f(_common(found, wanted), len(found), len(wanted))


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _f(shared: int, found: int, wanted: int) -> float:
    return 2 * shared / (found + wanted) if shared else 0.0


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        before = 0
        for j, other in enumerate(b, 1):
            here = row[j]
            row[j] = before + 1 if word == other else max(here, row[j - 1])
            before = here
    return row[-1]
