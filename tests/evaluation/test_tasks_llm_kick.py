"""Tasks that the suite of compressed models adds: an oracle, chance, scores and rules by hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretolm.errors import TextError
from paretolm.evaluation.metrics.instructions import RULES, kept
from paretolm.evaluation.metrics.overlap import rouge_l
from paretolm.evaluation.metrics.rouge import rouge_1
from paretolm.evaluation.tasks import make
from paretolm.evaluation.tasks.choice.closed_book import PACKAGED
from tests.evaluation import sets
from tests.evaluation.judging import fake_run, judge, lm, source
from tests.evaluation.test_tasks_choice import says as sure_of
from tests.evaluation.test_tasks_generation import opened, scores

# --- facts from memory ---


def test_who_knows_the_facts_has_all_of_them() -> None:
    task = make("closed-book", limit=40)
    for item in task.items(source(), lm()):
        right = item.data["question"].answer
        rows = {r.metric: r.value for r in task.score(fake_run(item, sure_of(item, right)), item, None).rows}
        assert rows["acc"] == rows["acc_norm"] == 1
        wrong = task.score(fake_run(item, sure_of(item, (right + 1) % 4)), item, None).rows
        assert next(r.value for r in wrong if r.metric == "acc") == 0


def test_a_model_that_never_learned_is_at_chance() -> None:
    """The tiny random model: a quarter of 228, within four standard errors."""
    task = make("closed-book")
    rows, _ = judge(task, "dense", task.items(source(), lm()), chunk=16)
    found = [r.value for r in rows if r.metric == "acc"]
    assert len(found) == 228
    assert abs(sum(found) / 228 - 0.25) < 4 * (0.25 * 0.75 / 228) ** 0.5


def test_the_packaged_set_gives_nothing_away() -> None:
    """Four different ends each, the right one in no favoured place."""
    records = make("closed-book").records()  # type: ignore[attr-defined]
    places = Counter(r.fields["answer"] for r in records)
    assert all(len(set(r.fields["choices"])) == 4 for r in records)
    assert all(228 / 4 - 26 < places[i] < 228 / 4 + 26 for i in range(4)), places
    assert make("closed-book").files() == (PACKAGED,)


def test_a_set_of_ones_own_stands_in_its_place(tmp_path: Path) -> None:
    task = make("closed-book", path=str(sets.folder("closed-book", tmp_path, 4)))
    assert [i.id for i in task.items(source(), lm())] == ["q-0", "q-1", "q-2", "q-3"]


def test_short_answers(tmp_path: Path) -> None:
    task, (item, *_) = opened("nq-open", tmp_path)
    assert scores(task, item, " lamp 0") == {"exact_match": 1, "f1": 1}
    assert scores(task, item, " The lamp. Or not") == {"exact_match": 1, "f1": 1}
    assert scores(task, item, " river") == {"exact_match": 0, "f1": 0}


# --- summaries ---


def test_rouge_by_hand() -> None:
    """Lin 2004, section 3: of 'police killed the gunman', 'police kill the gunman' shares three in order; with the
    words turned round still as many words, but two in order."""
    reference = "Police killed the gunman"
    assert rouge_l("police kill the gunman", reference) == rouge_1("police kill the gunman", reference) == 0.75
    assert rouge_l("the gunman kill police", reference) == 0.5
    assert rouge_1("the gunman kill police", reference) == 0.75
    assert rouge_l("", reference) == rouge_1("...", reference) == rouge_l(reference, "") == 0
    assert rouge_1("the the the", "the cat") == pytest.approx(2 * 1 / 5), "a word counts as often as it is wanted"


@given(st.lists(st.sampled_from("ab"), max_size=6), st.lists(st.sampled_from("ab"), max_size=6))
def test_the_longest_run_is_the_longest(a: list[str], b: list[str]) -> None:
    """Against all subsequences."""

    def subsequences(of: list[str]) -> set[tuple[str, ...]]:
        return {tuple(x for i, x in enumerate(of) if bits >> i & 1) for bits in range(1 << len(of))}

    longest = max(map(len, subsequences(a) & subsequences(b)))
    expected = 2 * longest / (len(a) + len(b)) if longest else 0
    assert rouge_l(" ".join(a), " ".join(b)) == pytest.approx(expected)


def test_a_perfect_summary(tmp_path: Path) -> None:
    task, (item, *_) = opened("summary", tmp_path)
    assert scores(task, item, " A silver lamp.") == {"rouge_l": 1, "rouge_1": 1}
    assert scores(task, item, " river road")["rouge_l"] == 0


# --- instructions ---

KEPT: list[tuple[str, dict[str, Any], str, str]] = [
    ("punctuation:no_comma", {}, "one two", "one, two"),
    ("length_constraints:number_words", {"relation": "at least", "num_words": 3}, "a b c", "a b"),
    ("length_constraints:number_words", {"relation": "less than", "num_words": 3}, "a b", "a b c"),
    ("length_constraints:number_sentences", {"relation": "less than", "num_sentences": 3}, "Yes! No?", "A. B. C."),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one\n***\ntwo", "one\n\ntwo"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "two"},
        "One.\n\nTwo is here.",
        "Two.\n\nOne.",
    ),
    ("keywords:existence", {"keywords": ["sea", "ship"]}, "A Ship at sea", "a ship"),
    ("keywords:forbidden_words", {"forbidden_words": ["rock"]}, "rocket", "A rock."),
    ("keywords:frequency", {"relation": "at least", "keyword": "sea", "frequency": 2}, "Sea sea", "sea"),
    ("keywords:letter_frequency", {"let_relation": "less than", "letter": "q", "let_frequency": 2}, "q", "qQ"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and *b*", "*a* and * *"),
    ("detectable_format:title", {}, "<<A title>>\ntext", "<< >> text"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n* b", "* a\n* b\n- c"),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{a: 1}"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "PART", "num_sections": 2},
        "PART 1 a PART 2 b",
        "PART 1 a",
    ),
    ("detectable_format:constrained_response", {}, "Well. My answer is no.", "no"),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] [b]", "[a]"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye\np.s. more", "Bye PS"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it"}, "say it: yes", "yes: say it"),
    ("combination:two_responses", {}, "a ****** b", "a ****** a"),
    ("startend:quotation", {}, ' "yes" ', 'yes"'),
    ("startend:end_checker", {"end_phrase": "Bye."}, 'So "bye."', "Bye. So"),
    ("change_case:english_lowercase", {}, "all low", "Not all"),
    ("change_case:english_capital", {}, "ALL UP", "ALl"),
    ("change_case:capital_word_frequency", {"capital_relation": "at least", "capital_frequency": 2}, "A BE c", "A be"),
]


@pytest.mark.parametrize(("rule", "args", "good", "bad"), KEPT, ids=lambda x: x if isinstance(x, str) else "")
def test_rules_by_hand(rule: str, args: dict[str, Any], good: str, bad: str) -> None:
    assert kept(rule, good, args)
    assert not kept(rule, bad, args)
    assert not kept(rule, " ", args), "nothing follows no instruction"


def test_every_rule_is_tried() -> None:
    assert {rule for rule, *_ in KEPT} == set(RULES)


def test_all_rules_or_some(tmp_path: Path) -> None:
    task, (item, *_) = opened("ifeval", tmp_path)
    assert scores(task, item, "a river") == {"followed": 1, "rules_kept": 1}
    assert scores(task, item, "A river") == {"followed": 0, "rules_kept": 0.5}
    assert scores(task, item, "") == {"followed": 0, "rules_kept": 0}


def test_a_rule_that_takes_another_model_leaves_its_prompt_out(tmp_path: Path) -> None:
    judged = {"id": "a", "prompt": "Write.", "checks": sets.CHECKS}
    other = {"id": "b", "prompt": "Schreib.", "checks": [{"type": "language:response_language", "args": {}}]}
    place = sets.write(tmp_path / "test.jsonl", [judged, other])
    assert [i.id for i in make("ifeval", path=str(place), max_new_tokens=8).items(source(), lm())] == ["a"]


@pytest.mark.parametrize(
    ("checks", "said"),
    [
        (None, "no field checks"),
        ("low", "must be a list of"),
        ([{"type": "style:poem"}], "no rule is called 'style:poem'"),
    ],
)
def test_a_set_that_cannot_be_read_is_a_sentence(checks: Any, said: str, tmp_path: Path) -> None:
    line = {"id": "a", "prompt": "Write."} | ({} if checks is None else {"checks": checks})
    place = sets.write(tmp_path / "test.jsonl", [line])
    with pytest.raises(TextError, match=said):
        make("ifeval", path=str(place), max_new_tokens=8).items(source(), lm())
