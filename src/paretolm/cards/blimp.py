"""BLiMP: is the grammatical sentence of a minimal pair the more likely one?"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import TextError
from ..evaluation.streams import encode, separator, tokenizer_of
from ..evaluation.tasks._data import data_file, records
from ..evaluation.tasks.choice.blimp import PAIRS, PARADIGMS, phenomena, phenomenon
from .judged import share
from .scoring import Tell, read, silent

if TYPE_CHECKING:
    from ..bridge.lm import LM


@dataclass(frozen=True)
class Pair:
    """Two sentences that differ in one point of grammar."""

    paradigm: str
    phenomenon: str
    good: str
    bad: str


def open_pairs(path: Path, items: int, seed: int = 0) -> list[Pair]:
    """`items` pairs of each paradigm, drawn by seed. path: a directory with pairs.jsonl (paradigm, good, bad) and
    paradigms.jsonl (paradigm, phenomenon), or the first of the two files. Raises TextError."""
    if not path.exists():
        raise TextError(f"there is no folder {path}: give one that holds {PAIRS} and {PARADIGMS}")
    file = data_file(path, PAIRS)
    known = phenomena(data_file(file.parent, PARADIGMS))
    found: dict[str, list[Pair]] = {}
    for record in records(file):
        name = record.text("paradigm")
        pair = Pair(name, phenomenon(record, known), record.text("good"), record.text("bad"))
        found.setdefault(name, []).append(pair)
    drawn = random.Random(seed)
    return [pair for name in sorted(found) for pair in drawn.sample(found[name], min(items, len(found[name])))]


def likelihoods(lm: LM, sentences: Sequence[str], tell: Tell = silent) -> list[float]:
    """Log-likelihood of each sentence in nats, all its tokens summed up, after the token that begins a text."""
    tokenizer = tokenizer_of(lm)
    first = separator(tokenizer, first=True)
    readings = read(lm, [[*first, *encode(tokenizer, s)[0]] for s in sentences], tell)
    return [-float(r.nll.sum()) for r in readings]


def blimp(lm: LM, pairs: Sequence[Pair], tell: Tell = silent) -> dict[str, Any]:
    """Accuracy in all and by phenomenon; two equal likelihoods are a wrong answer."""
    found = likelihoods(lm, [s for p in pairs for s in (p.good, p.bad)], tell)
    right = [good > bad for good, bad in zip(found[::2], found[1::2], strict=True)]
    return {**_share(right), "by_phenomenon": _by_phenomenon(pairs, right)}


def _by_phenomenon(pairs: Sequence[Pair], right: Sequence[bool]) -> Mapping[str, Any]:
    names = sorted({p.phenomenon for p in pairs})
    return {name: _share([r for p, r in zip(pairs, right, strict=True) if p.phenomenon == name]) for name in names}


def _share(right: Sequence[bool]) -> dict[str, Any]:
    return share(sum(right), len(right))
