"""Questions about the characters of words: four kinds, equally many of each, their answers found by a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ....contracts import knob
from ....errors import TextError
from .._data import DataTask, Record, records

LENGTHS = range(4, 11)  # letters of a word
BETWEEN = "\n\n"  # an answer and the next question
# A fixed draw of 400 a length among lower-case words that occur 30 times or more in fiction of the public domain
# (Standard Ebooks, CC0 1.0).
WORDS = Path(__file__).with_name("words.txt")


@dataclass(frozen=True)
class Kind:
    """solve(word, character) is the answer; least: the smallest answer there can be."""

    question: str
    solve: Callable[[str, str], int]
    least: int

    def answers(self, word: str) -> range:
        """Every number that is possible for a word of this length."""
        return range(self.least, self.least + len(word))


KINDS: Mapping[str, Kind] = {
    "count_character": Kind(
        "How many times does the character '{character}' appear in the string '{word}'?", str.count, 1
    ),
    "count_unique": Kind(
        "How many unique characters appear in the string '{word}'?", lambda word, _: len(set(word)), 1
    ),
    "first_position": Kind(
        "What is the index of the first occurrence of the character '{character}' in the string '{word}'? "
        "Start counting from 0.",
        str.index,
        0,
    ),
    "last_position": Kind(
        "What is the index of the last occurrence of the character '{character}' in the string '{word}'? "
        "Start counting from 0.",
        str.rindex,
        0,
    ),
}


@dataclass(frozen=True)
class Asked:
    """One question; character is drawn also where the kind does not ask about one."""

    kind: str
    word: str
    character: str

    @property
    def text(self) -> str:
        question = KINDS[self.kind].question.format(word=self.word, character=self.character)
        return f"Question: {question}\nAnswer:"

    @property
    def answer(self) -> int:
        return KINDS[self.kind].solve(self.word, self.character)


def questions(words: Sequence[str], shots: int, seed: int) -> Iterator[tuple[Asked, Sequence[Asked]]]:
    """Kind after kind, length after length until words of a length run out: a question, and the worked ones of its
    kind. No word is asked about twice."""
    dice = np.random.default_rng(seed)
    pools = {n: dice.permutation(sorted({w for w in words if len(w) == n})).tolist() for n in LENGTHS}

    def drawn(kind: str, length: int) -> Asked | None:
        if not pools[length]:
            return None
        word = pools[length].pop()
        return Asked(kind, word, word[dice.integers(len(word))])

    worked = {kind: [drawn(kind, n) for n in islice(cycle(LENGTHS), shots)] for kind in KINDS}
    for length, kind in cycle(product(LENGTHS, KINDS)):
        asked, known = drawn(kind, length), [a for a in worked[kind] if a is not None]
        if asked is None or len(known) < shots:
            return
        yield asked, known


def read_words(file: Path) -> list[str]:
    """Words of 4 to 10 letters of a to z: a line each, or JSON lines with the field word. Raises TextError."""
    if not file.is_file():
        raise TextError(f"there is no file {file}; words are a line each, or JSON lines with the field word")
    if ".jsonl" in file.suffixes:
        found = [r.text("word").strip() for r in records(file)]
    else:
        try:
            found = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        except UnicodeDecodeError:
            raise TextError(f"{file} is not UTF-8 text") from None
    return [w for w in found if len(w) in LENGTHS and w.isascii() and w.isalpha()]


@dataclass(frozen=True, kw_only=True)
class WordTask(DataTask):
    """CharBench: Evaluating the Role of Tokenization in Character-Level Tasks (2508.02591).

    Rows carry the tag kind. Words have 4 to 10 letters, equally many of each length and kind, as in the official
    code. Where we leave it: worked questions come first, for a model without instructions would not know that a
    number is wanted; words are of a packaged list, all in lower case."""

    fields: ClassVar[str] = "word"
    origin: ClassVar[str] = "any list of words"

    path: str | None = knob(None, help="words: a line each, or JSON lines with the field word; by itself packaged ones")
    limit: int | None = knob(1200, low=4, help="items; none: as many as there are words for")
    num_fewshot: int = knob(4, low=0, help="worked questions of its kind before each")

    def files(self) -> tuple[Path, ...]:
        return (self._words,)

    def records(self) -> list[Record]:
        found = [
            Record(str(self._words), i, _fields(i, asked, worked))
            for i, (asked, worked) in enumerate(
                islice(questions(read_words(self._words), self.num_fewshot, self.seed), self.limit), 1
            )
        ]
        if len(found) < (self.limit or len(KINDS)):
            raise TextError(
                f"{self._words} has words of {LENGTHS[0]} to {LENGTHS[-1]} letters for {len(found)} items with "
                f"{self.num_fewshot} worked ones a kind, fewer than {self.limit or len(KINDS)}: "
                f"give {self.name} a smaller limit, or a path= with more words of each length"
            )
        return found

    @property
    def _words(self) -> Path:
        return Path(self.path).expanduser() if self.path else WORDS


def _fields(number: int, asked: Asked, worked: Sequence[Asked]) -> dict[str, Any]:
    shots = "".join(f"{a.text} {a.answer}{BETWEEN}" for a in worked)
    return {
        "id": f"{asked.kind}-{number}",
        "asked": asked,
        "prompt": shots + asked.text,
    }
