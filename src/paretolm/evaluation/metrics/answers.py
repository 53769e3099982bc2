"""Answers in generated text, and how like the right ones they are."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
_NUMBER = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
_IGNORED = [re.compile(p) for p in (",", r"\$", r"(?s).*#### ", r"\.$")]


def first_number(text: str) -> str | None:
    """The first run of digits."""
    found = re.search(r"\d+", text)
    return found[0] if found else None


def marked_number(text: str) -> str | None:
    """The number after the first '#### ', where GSM8K's solutions have it."""
    found = _STRICT.search(text)
    return found[1] if found else None


def last_number(text: str) -> str | None:
    """The last thing that looks like a number or an amount of dollars."""
    found = [a or b for a, b in _NUMBER.findall(text)]
    return found[-1].strip() if found else None


def same_number(found: str | None, answer: str) -> bool:
    """As text, but for commas, dollar signs, a full stop at the end and what stands before '#### '."""
    return found is not None and _bare(found) == _bare(answer)


def _bare(text: str) -> str:
    for pattern in _IGNORED:
        text = pattern.sub("", text)
    return text.lower()


def normalised(text: str) -> str:
    """SQuAD's: lower case, without punctuation and articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(text: str, answers: Iterable[str]) -> bool:
    """Whether it is one of the answers, both normalised."""
    return normalised(text) in {normalised(a) for a in answers}


def f1(text: str, answers: Iterable[str]) -> float:
    """SQuAD's: harmonic mean of precision and recall of words, with the nearest answer."""
    return max(shared(normalised(text).split(), normalised(a).split()) for a in answers)


def shared(found: Sequence[str], answer: Sequence[str]) -> float:
    """Harmonic mean of precision and recall of what was found, each as often as both have it."""
    if not found or not answer:
        return float(found == answer)
    common = sum((Counter(found) & Counter(answer)).values())
    return 2 * common / (len(found) + len(answer))
