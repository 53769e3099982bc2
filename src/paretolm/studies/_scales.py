"""What a question asks of whoever answers it, read off its text by rule: sixteen scales.

Bean et al. 2025 (Scales++) have a large model rate each item on the sixteen cognitive scales of Zhou et al. 2025.
Nothing here asks a model: each scale is a count or a share in the item's own words, named after the demand it stands
for. That is a coarser reading of the same idea, and costs nothing.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ._questions import Question

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d+(?:[.,]\d+)*")
_LEXICON = {
    "logical reasoning": "if then because therefore thus hence since unless either neither implies so whether must",
    "negation": "not no never none nobody nothing nor cannot without n't except least",
    "mind modelling": "he she they who think thinks thought know knew believe feel felt want wanted hope said told asked",
    "spatial reasoning": "above below under over left right north south east west inside outside behind near far between up down",
    "time": "before after when while until during year years day days then now ago later soon first last yesterday today",
    "formal knowledge": "number equal sum angle function equation triangle ratio square product set value probability axis",
    "natural knowledge": "water energy cell plant plants animal animals light heat earth air force atom gas species body sun",
    "social knowledge": "law state government people war king money city country president trade history church family school",
}
SCALES = (
    "volume",
    "attention",
    "unguessability",
    "verbal comprehension",
    "sentence length",
    "verbal expression",
    "likeness of choices",
    "support in context",
    "quantity",
    *_LEXICON,
)


@dataclass(frozen=True)
class _Reading:
    words: list[str]  # of the whole item
    context: list[str]
    choices: list[list[str]]
    question: Question


def scales(asked: Sequence[Question]) -> np.ndarray:
    """[items, scales], each scale with mean 0 and deviation 1 over the items; one that never changes is 0."""
    readings = [_reading(q) for q in asked]
    known = Counter(w for r in readings for w in set(r.words))
    rare = {w: math.log((1 + len(readings)) / (1 + n)) for w, n in known.items()}
    table = np.array([_rate(r, rare) for r in readings])
    spread = table.std(0)
    return (table - table.mean(0)) / np.where(spread > 0, spread, 1.0)


def _reading(question: Question) -> _Reading:
    context = _words(question.context)
    choices = [_words(c) for c in question.choices]
    return _Reading(context + [w for c in choices for w in c], context, choices, question)


def _words(text: str) -> list[str]:
    return [w.lower() for w in _WORD.findall(text)]


def _rate(reading: _Reading, rare: dict[str, float]) -> list[float]:
    sentences = 1 + sum(reading.question.context.count(mark) for mark in ".!?")
    numbers = [w for w in reading.words if w[0].isdigit()]
    return [
        math.log1p(len(reading.words)),
        math.log1p(len(reading.context)),
        1 - 1 / len(reading.choices),
        _mean([rare[w] for w in reading.words]),
        len(reading.context) / sentences,
        _mean([len(c) for c in reading.choices]),
        _likeness(reading.choices),
        _mean([_shared(c, reading.context) for c in reading.choices]),
        _share(reading.words, lambda w: w in numbers),
        *(_share(reading.words, set(words.split()).__contains__) for words in _LEXICON.values()),
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _share(words: Sequence[str], holds: Callable[[str], bool]) -> float:
    return _mean([float(holds(w)) for w in words])


def _shared(words: Sequence[str], others: Sequence[str]) -> float:
    """Share of the words that stand among the others."""
    known = set(others)
    return _share(words, known.__contains__)


def _likeness(choices: Sequence[Sequence[str]]) -> float:
    """Mean overlap of two choices: shared words over all words."""
    sets = [set(c) for c in choices]
    pairs = [(a, b) for i, a in enumerate(sets) for b in sets[:i]]
    return _mean([len(a & b) / len(a | b) if a | b else 1.0 for a, b in pairs])
