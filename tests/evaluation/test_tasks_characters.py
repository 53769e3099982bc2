"""Characters in words: answers by hand and by a second program, an oracle, guessing, lists of words."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from paretolm.errors import TextError
from paretolm.evaluation.task import Item
from paretolm.evaluation.tasks import make
from paretolm.evaluation.tasks.characters._words import KINDS, LENGTHS, WORDS, Asked, read_words
from tests.evaluation.judging import fake_run, lm, source, tokenizer


def prompt(item: Item) -> str:
    return item.data["asked"].prompt if "asked" in item.data else item.data["question"].pairs[0][0]


def solved(text: str) -> int:
    """The answer to the last question of a prompt, from its words alone: a program that counts on its fingers."""
    question = text.rpartition("Question: ")[2]
    *asked, word = re.findall("'([a-z]+)'", question)
    if "unique" in question:
        return sum(letter not in word[:i] for i, letter in enumerate(word))
    places = [i for i, letter in enumerate(word) if letter == asked[0]]
    return len(places) if "How many" in question else places[0] if "first" in question else places[-1]


def says(item: Item, text: str):  # type: ignore[no-untyped-def]
    """Logits of a model that answers with `text` and then an empty line."""
    ids = tokenizer()(text + "\n\n")["input_ids"]

    def logits(seen: list[int]) -> torch.Tensor:
        at = len(seen) - item.prompt_length
        return torch.nn.functional.one_hot(torch.tensor(ids[min(at, len(ids) - 1)]), 400) * 20.0

    return logits


@pytest.mark.parametrize(
    ("kind", "word", "character", "answer"),
    [
        ("count_character", "banana", "a", 3),
        ("count_unique", "banana", "n", 3),
        ("first_position", "banana", "n", 2),
        ("last_position", "banana", "n", 4),
        ("last_position", "banana", "b", 0),
    ],
)
def test_answers_by_hand(kind: str, word: str, character: str, answer: int) -> None:
    asked = Asked(kind, word, character)
    assert asked.answer == solved(asked.text) == answer
    assert answer in KINDS[kind].answers(word)


def test_a_program_solves_every_item() -> None:
    items = make("charbench").items(source(), lm())
    assert len(items) == 1200
    assert Counter(i.data["asked"].tags["kind"] for i in items) == dict.fromkeys(KINDS, 300)
    words = [re.findall("'([a-z]+)'", prompt(i))[-1] for i in items]
    assert len(set(words)) == len(words)
    assert sorted(Counter(map(len, words)).values()) == [168] + [172] * 6
    assert set(map(len, words)) == set(LENGTHS)
    assert all(str(solved(prompt(i))) == i.data["asked"].answers[0] for i in items)


def test_worked_questions_are_right_and_of_the_same_kind() -> None:
    (item, *_) = make("charbench", limit=4, num_fewshot=2).items(source(), lm())
    *shots, last = prompt(item).split("\n\n")
    assert len(shots) == 2
    assert last.endswith("'?\nAnswer:")
    for shot in shots:
        question, _, answer = shot.rpartition("Answer: ")
        assert solved(question) == int(answer)
        assert "How many times" in question
    assert prompt(make("charbench", limit=4, num_fewshot=0).items(source(), lm())[3]).count("Question") == 1


def test_an_oracle_generates_every_answer_and_its_opposite_none() -> None:
    task = make("charbench", limit=60, num_fewshot=0)
    for item in task.items(source(), lm()):
        answer = solved(prompt(item))
        for text, exact, flexible in (
            (f" {answer}", 1, 1),
            (f" so {answer}", 0, 1),
            (f" {answer + 1}", 0, 0),
            (" none", 0, 0),
        ):
            rows = task.score(fake_run(item, says(item, text)), item, None).rows
            assert {r.metric: r.value for r in rows} == {"exact_match": exact, "flexible_match": flexible}
            assert all(r.tags == {"kind": item.data["asked"].tags["kind"]} for r in rows)


def test_an_oracle_chooses_every_answer_and_its_opposite_none() -> None:
    task = make("charbench-choice", limit=60, num_fewshot=0)
    for item in task.items(source(), lm()):
        answer = solved(prompt(item))
        for number, right in ((answer, 1), (answer - 1 if answer > 1 else answer + 1, 0)):
            rows = task.score(fake_run(item, says(item, f" {number}")), item, None).rows
            assert {r.metric: r.value > 0 for r in rows} == {"acc": right, "margin": right}


def test_guessing_is_right_once_in_as_many_times_as_there_are_choices() -> None:
    task = make("charbench-choice", limit=420, num_fewshot=0)

    def dice(seen: list[int]) -> torch.Tensor:
        return torch.from_numpy(np.random.default_rng(zlib.crc32(np.array(seen).tobytes())).standard_normal(400))

    items = task.items(source(), lm())
    hits = sum(task.score(fake_run(item, dice), item, None).rows[0].value for item in items)
    chance = np.mean([1 / len(i.data["choices"]) for i in items])
    assert chance == pytest.approx(np.mean([1 / n for n in LENGTHS]))
    assert stats.binomtest(int(hits), len(items), chance).pvalue > 1e-3


def test_the_packaged_words() -> None:
    assert len(read_words(WORDS)) == 2800
    assert Counter(map(len, read_words(WORDS))) == dict.fromkeys(LENGTHS, 400)


@pytest.mark.parametrize("suffix", ["txt", "jsonl"])
def test_other_words(suffix: str, tmp_path: Path) -> None:
    words = [chr(97 + i) * 2 + chr(98 + i) * (n - 2) for i in range(8) for n in range(3, 12)] + ["naïve", "it's", ""]
    lines = [f'{{"word": "{w}"}}' for w in words if w] if suffix == "jsonl" else words
    file = tmp_path / f"words.{suffix}"
    file.write_text("\n".join(lines), encoding="utf-8")
    task = make("charbench", path=str(file), num_fewshot=0, limit=None)
    items = task.items(source(), lm())
    assert len(items) == 2 * 28
    assert all(re.search("'([a-z]{4,10})'", prompt(i)) for i in items)
    assert task.files() == (file,)
    with pytest.raises(
        TextError, match="words of 4 to 10 letters for 56 items with 0 worked ones a kind, fewer than 57"
    ):
        make("charbench", path=str(file), num_fewshot=0, limit=57).items(source(), lm())


def test_lists_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="there is no file"):
        make("charbench", path=str(tmp_path / "a.txt")).items(source(), lm())
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(TextError, match="not UTF-8"):
        make("charbench", path=str(tmp_path / "a.txt")).items(source(), lm())
    (tmp_path / "b.txt").write_text("word\n")
    with pytest.raises(TextError, match="for 0 items"):
        make("charbench", path=str(tmp_path / "b.txt"), limit=None).items(source(), lm())
