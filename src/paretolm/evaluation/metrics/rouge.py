"""ROUGE-1 (Lin 2004): single words that a summary shares with a reference; ROUGE-L is in overlap. Words are runs of
letters and digits in lower case, without stemming, as rouge-score has them by default."""

from __future__ import annotations

import re
from collections import Counter


def rouge_1(text: str, reference: str) -> float:
    """F of single words."""
    found, wanted = _words(text), _words(reference)
    shared = sum((Counter(found) & Counter(wanted)).values())
    return 2 * shared / (len(found) + len(wanted)) if shared else 0.0


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())
