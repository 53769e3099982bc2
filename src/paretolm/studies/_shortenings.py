"""Cheap ways to shorten a text, word by word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

PIECES = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
_STOPWORDS = """
    a about above after again against all am an and any are as at be because been before being below between both
    but by can could did do does doing down during each few for from further had has have having he her here hers
    herself him himself his how i if in into is it its itself just me more most my myself no nor not now of off on once
    only or other our ours ourselves out over own same she should so some such than that the their theirs them
    themselves then there these they this those through to too under until up very was we were what when where which
    while who whom why will with would you your yours yourself yourselves"""
STOPWORDS = frozenset(_STOPWORDS.split())
FIRST = "first tokens"
WAYS: dict[str, frozenset[str]] = {
    FIRST: frozenset(),
    "no stopwords": frozenset({"stopwords"}),
    "no punctuation": frozenset({"punctuation"}),
    "no rare words": frozenset({"rare"}),
    "no repetitions": frozenset({"repeated"}),
    "no stopwords, no punctuation": frozenset({"stopwords", "punctuation"}),
}


def rare_words(texts: Iterable[str], least: int) -> frozenset[str]:
    """Words of the texts, in small letters, that they hold fewer than `least` times."""
    counts = Counter(piece.lower() for text in texts for piece in PIECES.findall(text) if _is_word(piece))
    return frozenset(word for word, count in counts.items() if count < least)


def shortened(text: str, way: str, rare: frozenset[str]) -> str:
    """The text without what this way leaves out; a blank stands before every word."""
    if way == FIRST:
        return text
    without, seen, kept = WAYS[way], set(), []
    for piece in PIECES.findall(text):
        word = piece.lower()
        is_word = _is_word(piece)
        if (
            (not is_word and "punctuation" in without)
            or (word in STOPWORDS and "stopwords" in without)
            or (word in rare and "rare" in without)
            or (is_word and word in seen and "repeated" in without)
        ):
            continue
        seen.add(word)
        kept.append(f" {piece}" if is_word else piece)
    return "".join(kept).strip()


def _is_word(piece: str) -> bool:
    return piece[0].isalnum() or piece[0] == "_"
