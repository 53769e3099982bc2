"""How much of one text stands in another."""

from __future__ import annotations

import re
from collections.abc import Sequence

_OTHER = re.compile(r"[^a-z0-9]+")


def rouge_l(text: str, reference: str) -> float:
    """ROUGE-L (Lin 2004): harmonic mean of the longest common subsequence's share of either text's words.

    Words as in google-research's rouge_score without stemming: lower case, runs of letters a to z and digits."""
    found, right = (_OTHER.sub(" ", t.lower()).split() for t in (text, reference))
    common = longest_common(found, right)
    return 2 * common / (len(found) + len(right)) if common else 0.0


def longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    above = [0] * (len(b) + 1)
    for word in a:
        row = [0]
        for j, other in enumerate(b):
            row.append(above[j] + 1 if word == other else max(above[j + 1], row[j]))
        above = row
    return above[-1]
