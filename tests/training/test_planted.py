"""Planted facts: every question stands behind its fact and has its answer; the held-out phrasings are nowhere."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

from paretolm.evaluation.tasks.context.recall import LITERAL, NAMES, PARAPHRASED
from paretolm.training.planted import LATER_SHARE, LITERAL_SHARE, NUMBERS, PEOPLE, THINGS, WORD_SHARE, WORDS, Writer
from tests.evaluation.judging import document
from tests.training import tiny

LITERALS = tuple((fact.replace("{key}", "{x}"), question) for fact, question in LITERAL)
SHAPES = (*LITERALS, *NUMBERS, *WORDS)
SIZE, MOST = 500, 6


def pattern(shape: str) -> re.Pattern[str]:
    """Finds a shape filled with a name and an answer."""
    found = re.escape(shape).replace(r"\{name\}", "(?P<name>[A-Z][a-z]+)", 1).replace(r"\{name\}", "(?P=name)")
    return re.compile(found.replace(r"\{x\}", r"(?P<x>\w+)"))


FACTS = [pattern(fact) for fact, _ in SHAPES]
QUESTIONS = [pattern(question + " {x}.") for _, question in SHAPES]


@cache
def windows(count: int = 400) -> list[str]:
    """Texts with facts planted in them."""
    encode, decode = tiny.source(np.arange(9)).encode, tiny.tokenizer().decode
    writer = Writer(encode, MOST)
    body = np.array(encode(" ".join(document(i) for i in range(4))), np.int64)[:SIZE]
    assert len(body) == SIZE
    planted = [writer.plant(body, np.random.default_rng(seed)) for seed in range(count)]
    assert all(len(p) == SIZE for p in planted)
    return [decode(p.tolist()) for p in planted]


def found(text: str) -> Iterator[tuple[int, str, str, re.Match[str], int]]:
    """(shape, name, answer, the fact, where its question begins)."""
    for number, (fact, question) in enumerate(zip(FACTS, QUESTIONS, strict=True)):
        facts = {(m["name"], m["x"]): m for m in reversed(list(fact.finditer(text)))}  # an answer may say it again
        asked = {(m["name"], m["x"]): m.start() for m in question.finditer(text)}
        assert facts.keys() == asked.keys(), "each is asked for, and answered with what it says"
        for (name, answer), match in facts.items():
            yield number, name, answer, match, asked[name, answer]


def test_every_question_stands_behind_its_fact() -> None:
    later = total = 0
    for text in windows():
        told = list(found(text))
        assert 1 <= len(told) <= MOST
        assert len({name for _, name, *_ in told}) == len(told), "of different people"
        assert text.count("Question:") == len(told)
        for _, _, _, fact, asked in told:
            assert fact.end() <= asked
            total += 1
            later += "river" in text[asked:] or "stone" in text[asked:]  # text goes on behind it
    assert abs(later / total - LATER_SHARE) < 4 * np.sqrt(LATER_SHARE * (1 - LATER_SHARE) / total) + 0.02


def test_phrasings_come_in_their_shares() -> None:
    told = [(number, answer) for text in windows() for number, _, answer, *_ in found(text)]
    counts = Counter(number for number, _ in told)
    assert set(counts) == set(range(len(SHAPES)))
    literal, words = (
        counts[0] / len(told),
        sum(counts[i] for i in range(len(SHAPES) - len(WORDS), len(SHAPES))) / len(told),
    )
    assert literal == pytest.approx(LITERAL_SHARE, abs=0.1), "neighbours may share theirs, so that draws are few"
    assert words == pytest.approx(WORD_SHARE, abs=0.1)
    for number, answer in told:
        assert answer in THINGS if number >= len(SHAPES) - len(WORDS) else re.fullmatch(r"[1-9]\d{2,4}", answer)


def test_people_are_told_apart() -> None:
    assert len(set(PEOPLE)) == len(PEOPLE)
    assert set(NAMES) < set(PEOPLE)
    assert len(set(THINGS)) == len(THINGS)


def test_held_out_phrasings_are_never_planted() -> None:
    fragments = [part.strip() for pair in PARAPHRASED for shape in pair for part in re.split(r"\{\w+\}", shape)]
    fragments = [f for f in fragments if len(f.split()) > 2]
    assert len(fragments) >= 2 * len(PARAPHRASED)
    for fragment in fragments:
        assert not any(fragment in text for text in windows())
        assert not any(fragment in shape for pair in SHAPES for shape in pair)


@pytest.mark.parametrize("size", [16, 40, 90])
def test_a_small_window_stays_mostly_text(size: int) -> None:
    encode = tiny.source(np.arange(9)).encode
    body = np.arange(1000, 1000 + size)
    for seed in range(50):
        planted = Writer(encode, MOST).plant(body, np.random.default_rng(seed))
        assert len(planted) == size
        kept = planted[planted >= 1000]
        assert len(kept) >= size // 2
        assert kept.tolist() == body[: len(kept)].tolist()


def test_facts_stand_between_sentences_where_there_are_some() -> None:
    starts = [text[: fact.start()].rstrip() for text in windows() for *_, fact, _ in found(text)]
    assert sum(before.endswith((".", "!", "?")) or not before for before in starts) > 0.9 * len(starts)
