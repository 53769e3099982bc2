"""Facts planted in real text and asked for later, so that looking things up is worth learning.

The literal phrasing of the recall task is among the ones here; its paraphrases are not, and stay a test of whether
what was learned carries over."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ..evaluation.tasks.context.recall import LITERAL, NAMES

_MORE = (
    "Aaron Agnes Amir Astrid Barbara Boris Celia Conrad Diana Dora Edgar Edith Esther Fiona George Greta Hanna Hector "
    "Igor Ingrid Isaac Jane Jonas Julia Kevin Lena Leo Lucy Marcus Maria Max Mona Nora Otto Pablo Pia Quentin Rachel "
    "Robert Rudolf Sara Sofia Stefan Susan Theo Ursula Walter Wendy Xavier Yusuf Zoe"
)
NUMBERS = (
    ("The code of {name} is {x}.", "Question: What is the code of {name}? Answer: The code of {name} is"),
    ("{name} lives in room {x}.", "Question: In which room does {name} live? Answer: {name} lives in room"),
    (
        "The special number for {name} is {x}.",
        "Question: What is the special number for {name}? Answer: The special number for {name} is",
    ),
    ("{name} was given ticket {x}.", "Question: Which ticket was {name} given? Answer: {name} was given ticket"),
    ("Note that {name} owes {x} dollars.", "Question: How much does {name} owe? Answer: {name} owes"),
    ("One can reach {name} at {x}.", "Question: How can one reach {name}? Answer: One can reach {name} at"),
)
WORDS = (
    ("The favourite thing of {name} is the {x}.", "Question: What does {name} like most? Answer: {name} likes the"),
    ("{name} carries a {x} in the bag.", "Question: What does {name} carry in the bag? Answer: {name} carries a"),
    ("The password of {name} is {x}.", "Question: What is the password of {name}? Answer: The password of {name} is"),
)
_THINGS = (
    "apple arrow basket bell blanket book bottle bridge brush button candle carpet chair clock coin cup diamond door "
    "drum feather flag flower fork garden glass hammer harp hat horse jacket kettle key kite knife ladder lamp lantern "
    "letter lemon map mirror needle paper pearl pencil piano pillow plate ring river rope sail saddle shell shoe silver "
    "spoon stone table tiger tower train umbrella violin wagon watch wheel whistle window"
)
PEOPLE = (*NAMES, *_MORE.split())
THINGS = tuple(_THINGS.split())
LITERAL_SHARE, WORD_SHARE = 0.4, 0.2
LATER_SHARE = 0.3  # of the questions: somewhere behind the fact rather than at the end
_STOPS = (".", "!", "?", ".\n", "\n\n")


class Writer:
    """Plants facts into windows of token ids. encode: text -> ids, without special tokens."""

    def __init__(self, encode: Callable[[str], list[int]], most_facts: int) -> None:
        self._encode = lru_cache(1 << 16)(lambda text: np.array(encode(text), np.int64))
        self._most = most_facts
        self._stops = {int(i) for text in _STOPS for i in encode(text)[-1:]}

    def plant(self, body: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A window of the same length: text, facts at random depths, questions with their answers after them."""
        facts, asked, ends = self._draw(rng)
        while facts and sum(map(len, facts)) + sum(map(len, asked)) > len(body) // 2:
            facts, asked, ends = facts[:-1], asked[:-1], ends[:-1]
        room = len(body) - sum(map(len, facts)) - sum(map(len, asked))
        text = body[:room]
        inserts, last = [], []
        for fact, question, at_end in zip(facts, asked, ends, strict=True):
            place = self._stop(text, int(rng.integers(room + 1)))
            inserts.append((place, 0, fact))
            if at_end:
                last.append(question)
            else:
                inserts.append((self._stop(text, int(rng.integers(place, room + 1)), place), 1, question))
        return np.concatenate([_inserted(text, inserts), *last])

    def _draw(self, rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray], list[bool]]:
        """Tokens of some facts about different people, of a question for each, and whether it is asked at the end."""
        count = min(self._most, int(rng.geometric(0.4)))
        people = rng.choice(np.array(PEOPLE), count, replace=False).tolist()
        facts, asked = [], []
        shape = _phrasing(rng)
        for person in people:
            if rng.random() < 0.5:
                shape = _phrasing(rng)
            statement, question, answer = _filled(shape, person, rng)
            facts.append(self._encode(f" {statement}"))
            asked.append(np.concatenate([self._encode(f"\n\n{question}"), self._encode(f" {answer}.")]))
        return facts, asked, (rng.random(count) >= LATER_SHARE).tolist()

    def _stop(self, text: np.ndarray, place: int, low: int = 0) -> int:
        """The end of a sentence shortly before `place`, else `place`."""
        for i in range(place, max(low, place - 40), -1):
            if i and int(text[i - 1]) in self._stops:
                return i
        return place


def _phrasing(rng: np.random.Generator) -> tuple[str, str, bool]:
    """Statement, question, and whether the answer is a word."""
    kind = rng.random()
    if kind < LITERAL_SHARE:
        statement, question = LITERAL[int(rng.integers(len(LITERAL)))]
        return statement.replace("{key}", "{x}"), question, False
    table = WORDS if kind < LITERAL_SHARE + WORD_SHARE else NUMBERS
    return (*table[int(rng.integers(len(table)))], table is WORDS)


def _filled(shape: tuple[str, str, bool], person: str, rng: np.random.Generator) -> tuple[str, str, str]:
    statement, question, word = shape
    digits = int(rng.choice([3, 4, 5], p=[0.1, 0.8, 0.1]))
    answer = THINGS[int(rng.integers(len(THINGS)))] if word else str(rng.integers(10 ** (digits - 1), 10**digits))
    return statement.format(name=person, x=answer), question.format(name=person), answer


def _inserted(text: np.ndarray, inserts: list[tuple[int, int, np.ndarray]]) -> np.ndarray:
    """Pieces written between the tokens of the text; facts before questions where both stand at one place."""
    parts, before = [], 0
    for place, _, piece in sorted(inserts, key=lambda x: x[:2]):
        parts += [text[before:place], piece]
        before = place
    return np.concatenate([*parts, text[before:]])
