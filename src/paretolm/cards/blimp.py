"""BLiMP: is the grammatical sentence of a minimal pair the more likely one?"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import TextError
from ..evaluation.streams import encode, separator, tokenizer_of
from .judged import share
from .scoring import Tell, read, silent

if TYPE_CHECKING:
    from ..bridge.lm import LM

PAIRS, PARADIGMS = "pairs.jsonl", "paradigms.jsonl"


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
    file = path if path.is_file() else path / PAIRS
    phenomena = {r["paradigm"]: r["phenomenon"] for r in _lines(file.with_name(PARADIGMS), "paradigm", "phenomenon")}
    found: dict[str, list[Pair]] = {}
    for record in _lines(file, "paradigm", "good", "bad"):
        name = record["paradigm"]
        if name not in phenomena:
            raise TextError(f"{file} has a paradigm {name!r} that {PARADIGMS} beside it does not name")
        found.setdefault(name, []).append(Pair(name, phenomena[name], record["good"], record["bad"]))
    if not found:
        raise TextError(f"{file} holds no pairs")
    drawn = random.Random(seed)
    return [pair for name in sorted(found) for pair in drawn.sample(found[name], min(items, len(found[name])))]


def _lines(path: Path, *fields: str) -> list[dict[str, str]]:
    """The objects of a file of JSON lines, each with these strings."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TextError(f"{path} cannot be read ({error}); BLiMP is a folder with {PAIRS} and {PARADIGMS}") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise TextError(f"{path} line {number} is not JSON: {error}") from None
        if not isinstance(record, dict) or not all(isinstance(record.get(f), str) for f in fields):
            raise TextError(f"{path} line {number} needs {', '.join(fields)}, all of them text")
        found.append(record)
    return found


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
