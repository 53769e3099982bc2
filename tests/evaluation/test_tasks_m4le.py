"""Short tasks made long: abilities, lengths, gold spans that solve them, chance, sets of the user."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paretolm.errors import RecipeError, TextError
from paretolm.evaluation.tasks import make
from paretolm.evaluation.tasks.context._abilities import TASKS, halves, tasks_for
from paretolm.evaluation.tasks.context._context import Question
from paretolm.evaluation.tasks.context._short_sets import Piece, ShortSet, read_sets
from paretolm.evaluation.tasks.context.m4le import ABILITIES
from tests.evaluation import sets
from tests.evaluation.asked import opened, said, values
from tests.evaluation.judging import lm, source

LENGTHS = (8.0, 12.0)
_DOCUMENT = re.compile(r"Document ([0-9A-F]{6}): (.+)")


def m4le(**knobs: Any) -> tuple[Any, list[Question]]:
    return opened("m4le", **({"lengths": LENGTHS, "repeats": 1} | knobs))


def test_five_abilities_of_six_kinds_of_short_task_at_every_length() -> None:
    _, questions = m4le()
    assert len(ABILITIES) == 5
    found = Counter((q.tags["ability"], q.tags["length"]) for q in questions)
    assert set(found) == {(ability, round(128 * length)) for ability in ABILITIES for length in LENGTHS}
    assert {q.tags["task"] for q in questions} == {t.name for t in TASKS}


def test_gold_spans_solve_everything_and_the_other_documents_do_not() -> None:
    task, questions = m4le(repeats=2)
    for question in questions:
        answer = task.from_gold(question)
        assert task.grade(f" {answer}\n", question) == {"exact_match": 1, "f1": 1}, question
        spans = [question.prompt[a:b] for a, b in question.gold]
        assert all(_DOCUMENT.fullmatch(span) for span in spans), "a span is a whole document"
        if question.tags["task"] in ("answer", "answer-from"):
            assert any(a.strip().lower() in spans[0].lower() for a in question.answers) or answer in ("42", "14")
        if question.tags["task"] in ("list", "count", "most"):
            assert "depth" not in question.tags


def test_an_oracle_and_a_mute_through_the_model_s_stream() -> None:
    task, questions = m4le(lengths=(8.0,))
    for question in questions:
        right = said(task, question, question.answers[0])
        assert values(right) == {"exact_match": 1, "f1": 1}
        assert right.facts["documents"] == len(_DOCUMENT.findall(question.prompt))
        assert values(said(task, question, " -")) == {"exact_match": 0, "f1": 0}


def test_of_the_numbers_of_a_context_one_is_right() -> None:
    """So a guess is right by chance, and no better."""
    task, questions = m4le(lengths=(8.0,), abilities=("semantic single",))
    found = [q for q in questions if q.tags["task"] in ("find", "continue")]
    for question in found:
        numbers = [number for number, _ in _DOCUMENT.findall(question.prompt)]
        assert len(numbers) > 1
        assert sum(task.grade(f" {n}", question)["exact_match"] for n in numbers) == 1
    assert len(found) == 2


def test_the_document_asked_about_moves_through_the_context() -> None:
    _, questions = m4le(repeats=5, lengths=(10.0,), abilities=("explicit single",))
    for question in questions:
        starts = [m.start() for m in _DOCUMENT.finditer(question.prompt)]
        place = starts.index(question.gold[0][0]) / (len(starts) - 1)
        assert place == pytest.approx(question.tags["depth"], abs=0.13)
    assert {q.tags["depth"] for q in questions} == {0.0, 0.25, 0.5, 0.75, 1.0}


def test_lists_count_in_any_order_and_in_part() -> None:
    task, questions = m4le(lengths=(12.0,), abilities=("explicit multiple",))
    for question in questions:
        numbers = question.answers[0].strip().split(", ")
        assert len(numbers) > 1
        assert task.grade(" " + ", ".join(numbers[::-1]) + ".", question) == {"exact_match": 1, "f1": 1}
        part = task.grade(f" {numbers[0]}", question)
        assert part == {"exact_match": 0, "f1": pytest.approx(2 / (1 + len(numbers)))}


def test_the_most_frequent_class_is_the_only_one_so_frequent() -> None:
    requests = ShortSet("r", "requests", tuple(Piece(f"{x} {i}", x) for x in "ab" for i in range(6)))
    (task,) = [t for t in tasks_for(requests) if t.name == "most"]
    for seed in range(20):
        draft = task.draft(requests, 9, 0.0, np.random.default_rng(seed))
        counts = Counter(text[0] for _, text in draft.documents).most_common()
        assert counts[0][0] == draft.answers[0]
        assert len(counts) == 1 or counts[0][1] > counts[1][1]


def test_halves_by_hand() -> None:
    assert halves("One two. Three four. Five.") == ("One two.", "Three four. Five.")
    assert halves("Only one sentence") == ("Only one sentence", "")


def test_sets_of_the_user_are_told_by_their_fields(tmp_path: Path) -> None:
    sets.write(tmp_path / "mood" / "test.jsonl", [{"text": f"so {x} {i}", "label": x} for x in "pn" for i in range(9)])
    sets.folder("arc-easy", tmp_path / "arc", 9)
    sets.folder("squad", tmp_path / "squad", 9)
    sets.write(
        tmp_path / "seek" / "corpus.jsonl", [{"id": f"p{i}", "title": "", "text": f"Lamp {i}."} for i in range(5)]
    )
    sets.write(tmp_path / "seek" / "queries.jsonl", [{"id": "q", "text": "which lamp", "answers": ["3"]}])
    sets.write(tmp_path / "seek" / "qrels.jsonl", [{"query": "q", "passage": "p3", "score": 1}])
    sets.write(tmp_path / "notes.jsonl", [{"note": "of another shape"}])
    assert {s.name: s.kind for s in read_sets(tmp_path, ())} == {
        "arc": "quizzes",
        "mood": "requests",
        "seek": "passages",
        "squad": "passages",
    }
    task, questions = m4le(path=str(tmp_path), lengths=(4.0,))
    assert {q.tags["set"] for q in questions} == {"arc", "mood", "seek", "squad"}
    assert all(task.grade(task.from_gold(q), q)["exact_match"] for q in questions)
    assert tmp_path / "squad" / "test.jsonl" in task.files()
    with pytest.raises(TextError, match=r"notes.jsonl line 1 has note; a set of short items has text and label"):
        m4le(path=str(tmp_path), sets=("notes",))
    with pytest.raises(TextError, match="has no set moods, only arc, mood"):
        m4le(path=str(tmp_path), sets=("moods",))


def test_what_cannot_be_met_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="64 tokens have no room for two documents of passages and a question"):
        make("m4le", lengths=(0.5,)).questions(source(), lm())
    with pytest.raises(RecipeError, match="abilities are explicit single"):
        make("m4le", abilities=("reading",))
    with pytest.raises(TextError, match="there is no folder"):
        make("m4le", path=str(tmp_path / "none")).questions(source(), lm())
    sets.folder("arc-easy", tmp_path / "arc", 3)
    with pytest.raises(TextError, match="has no set that serves global"):
        make("m4le", path=str(tmp_path), abilities=("global",)).questions(source(), lm())
