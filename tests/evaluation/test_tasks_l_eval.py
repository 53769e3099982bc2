"""Questions about documents: task types, length instructions, how answers are read, ROUGE-L by outside authority."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretolm.errors import RecipeError, TextError
from paretolm.evaluation.metrics.overlap import longest_common, rouge_l
from paretolm.evaluation.tasks import make
from paretolm.evaluation.tasks.context._context import Question, whole
from paretolm.evaluation.tasks.context._leval_kinds import letters, stated_number, truth
from tests.evaluation import sets
from tests.evaluation.asked import item_of, opened, said, values
from tests.evaluation.judging import lm, source, tokenizer

CLOSED = {"quality": "choice", "sci_fi": "truth", "topic_retrieval": "short", "gsm": "number"}


def l_eval(**knobs: Any) -> tuple[Any, list[Question]]:
    return opened("l-eval", **({"length": 1536} | knobs))


def test_four_closed_and_three_open_types_with_two_metrics_each() -> None:
    task, questions = l_eval(limit=1)
    groups = {q.tags["set"]: (q.tags["group"], q.tags["kind"]) for q in questions}
    assert groups == {name: ("closed", kind) for name, kind in CLOSED.items()} | dict.fromkeys(
        ("gov_report_summ", "meeting_summ", "scientific_qa"), ("open", "open")
    )
    for question in questions:
        other = "exact_match" if question.tags["group"] == "closed" else "rouge_l"
        assert task.grade(question.answers[0], question) == {other: 1, "f1": 1}


def test_gold_scores_all_through_the_stream_and_the_output_is_kept() -> None:
    task, questions = l_eval(limit=1, sets=("quality", "topic_retrieval", "scientific_qa"))
    for question in questions:
        right = said(task, question, question.answers[0])
        assert set(values(right).values()) == {1}
        assert right.facts["output"] == question.answers[0]
        wrong = said(task, question, " zzz")
        assert set(values(wrong).values()) == {0}
        assert wrong.facts["output"] == " zzz"


def test_a_guess_of_a_letter_is_right_one_time_in_four(tmp_path: Path) -> None:
    lines = [{"context": "A long story.", "questions": ["Which?"] * 4, "answers": ["(A) x", "B", "C", "(D) y"]}]
    sets.write(tmp_path / "quality.jsonl", lines)
    task, questions = l_eval(path=str(tmp_path))
    assert [task.grade(" B", q)["exact_match"] for q in questions] == [0, 1, 0, 0]
    assert not any(task.grade(" so", q)["exact_match"] for q in questions), "nothing found is wrong, no guess of A"


def test_open_tasks_are_asked_for_as_many_words_as_the_reference_has() -> None:
    _, questions = l_eval(limit=1)
    for question in questions:
        asked = f"Answer in {len(question.answers[0].split())} words.\nAnswer:"
        assert question.prompt.endswith(asked) == (question.tags["group"] == "open")


def test_a_long_document_loses_its_end() -> None:
    task, whole_ones = l_eval(limit=1, sets=("quality",), length=4096)
    _, cut = l_eval(limit=1, sets=("quality",), length=512)
    for full, short in zip(whole_ones, cut, strict=True):
        assert full.facts["read"] == 1
        assert short.facts["read"] < 0.5
        assert whole(tokenizer(), short) <= 512 < task.tokens(item_of(task, full))
        document, _, ask = short.prompt.rpartition("\n\nQuestion:")
        assert full.prompt.startswith(document)
        assert full.prompt.endswith(ask)


def test_lines_under_l_eval_s_own_names(tmp_path: Path) -> None:
    line = {"input": "On Mars it rains.", "instructions": ["It rains. True or false?"], "evaluation": "exam"}
    sets.write(tmp_path / "sci_fi.jsonl", [line | {"outputs": ["True [fact: False]"]}])
    sets.write(tmp_path / "own.jsonl", [{"context": "x", "questions": ["y"], "answers": ["z"], "kind": "short"}])
    task, questions = l_eval(path=str(tmp_path))
    assert [(q.tags["kind"], q.answers) for q in questions] == [("short", (" z",)), ("truth", (" True",))]
    assert task.grade("false", questions[1])["exact_match"] == 0
    assert len(task.files()) == 2


def test_the_long_sets_of_others_are_known_by_name(tmp_path: Path) -> None:
    sets.write(tmp_path / "long_quality" / "test.jsonl", [{"context": "x", "questions": ["y"], "answers": ["(A) z"]}])
    _, (question,) = l_eval(path=str(tmp_path))
    assert (question.tags["kind"], question.tags["set"]) == ("choice", "long_quality")


@pytest.mark.parametrize(
    ("text", "found"), [("B", "B"), ("(C) because A", "C"), (" DB.", "BD"), ("no", ""), ("Apple", "")]
)
def test_letters(text: str, found: str) -> None:
    assert letters(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [("5 + 2 = 7. The answer is 8.", "8."), ("so 12 and 13\n\nQuestion 4", "13"), ("none", None)],
)
def test_stated_numbers(text: str, found: str | None) -> None:
    assert stated_number(text) == found


def test_truth() -> None:
    assert (truth(" True, since"), truth("untrue"), truth("It is FALSE")) == ("true", "", "false")


def test_rouge_l_by_lin_s_example_and_by_rouge_score_s() -> None:
    """Lin 2004, section 3.1: S1 police killed the gunman, S2 police kill the gunman, S3 the gunman kill police; and
    the readme of google-research's rouge_score."""
    assert rouge_l("police kill the gunman", "police killed the gunman") == pytest.approx(3 / 4)
    assert rouge_l("the gunman kill police", "police killed the gunman") == pytest.approx(2 / 4)
    quick, dog = "The quick brown fox jumps over the lazy dog", "The quick brown dog jumps on the log."
    assert rouge_l(dog, quick) == pytest.approx(2 * 5 / (9 + 8))
    assert rouge_l("", "a") == rouge_l("b", "a") == 0


@given(st.text("abc ", max_size=12), st.text("abc ", max_size=12))
def test_the_longest_common_subsequence_is_the_naive_one(a: str, b: str) -> None:
    def naive(x: str, y: str) -> int:
        if not x or not y:
            return 0
        if x[0] == y[0]:
            return 1 + naive(x[1:], y[1:])
        return max(naive(x[1:], y), naive(x, y[1:]))

    assert longest_common(a[:7], b[:7]) == naive(a[:7], b[:7])
    assert longest_common(a, b) == longest_common(b, a)


def test_what_cannot_be_met_is_said(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="has no set stories, only gov_report_summ"):
        l_eval(sets=("stories",))
    with pytest.raises(TextError, match="leave no room for a document in 64 tokens"):
        l_eval(length=64)
    with pytest.raises(RecipeError, match="at least 64"):
        make("l-eval", length=1)
    for line, said_ in (
        ({"context": "x", "questions": ["y"], "answers": []}, "answers must be a list of 1"),
        ({"context": "x", "questions": ["y"], "answers": [" "]}, "has an empty answer"),
        ({"context": "x", "questions": ["y"], "answers": ["z"], "kind": "odd"}, "kind must be one of choice"),
    ):
        sets.write(tmp_path / "a.jsonl", [line])
        with pytest.raises(TextError, match=said_):
            make("l-eval", path=str(tmp_path)).questions(source(), lm())
