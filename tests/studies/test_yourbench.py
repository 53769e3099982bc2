"""YourBench: questions of a folder, citations that hold, and models ranked as their order is known to be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from scipy import stats

from paretolm.errors import TextError
from paretolm.evaluation._files import Raw
from paretolm.evaluation.source import TextSource
from paretolm.evaluation.tasks import make
from paretolm.studies import parse
from paretolm.studies import yourbench as yb
from paretolm.studies._citations import NEAR, cited, distance_to_part, likeness
from paretolm.studies._cloze import Asked, distinct, written
from paretolm.studies._questions import Question
from paretolm.studies.study import Findings, Place
from tests.evaluation.judging import lm

EMBEDDED = TextSource.open()


def levenshtein(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
    return row[-1]


@pytest.mark.parametrize(
    ("pattern", "text", "distance"),
    [("abc", "xxabcxx", 0), ("abd", "xxabcxx", 1), ("kitten", "sitting", 2), ("abc", "", 3), ("", "abc", 0)],
)
def test_distances_by_hand(pattern: str, text: str, distance: int) -> None:
    assert distance_to_part(pattern, text) == distance


@given(some.text("abc", max_size=6), some.text("abc", max_size=9))
def test_the_distance_is_that_to_the_nearest_of_all_parts(pattern: str, text: str) -> None:
    parts = [text[i:j] for i in range(len(text) + 1) for j in range(i, len(text) + 1)]
    assert distance_to_part(pattern, text) == min(levenshtein(pattern, p) for p in parts)


def test_likeness_of_citations() -> None:
    text = "It was a bright cold day in April, and\nthe clocks were striking thirteen."
    assert likeness("bright cold day", text) == 1
    assert likeness("April, and the clocks", text) == 1, "other white space"
    assert likeness("a bright warm day in April", text) == pytest.approx(1 - 4 / 26)
    assert likeness("A storm passed over Norway", text) < NEAR
    assert likeness("", text) == 0
    assert cited(["bright cold day", "zzzz"], "d", {"d": text}) == pytest.approx(0.5)
    assert cited(["bright cold day"], "unknown", {"e": "no", "d": text}) == 1
    assert cited(["bright cold day"], "e", {"e": "none", "d": text}) < NEAR, "the document it names counts"
    assert cited([], "d", {"d": text}) == 0


def test_questions_of_a_text_cite_it_letter_by_letter() -> None:
    texts = {d.id: d.text for d in EMBEDDED.documents}
    asked = written(EMBEDDED.documents, 40, 0)
    assert {a.kind for a in asked} == {"name", "number", "word"}
    for a in asked:
        (citation,) = a.citations
        assert texts[a.doc][a.start :].startswith(citation)
        right = a.choices[a.answer]
        assert len(set(a.choices)) == 4
        assert f"{a.question} {right}" in " ".join(texts[a.doc].split())
    assert len({a.id for a in asked}) == len(asked)
    assert written(EMBEDDED.documents, 40, 0) == asked
    assert [a.answer for a in written(EMBEDDED.documents, 40, 1)] != [a.answer for a in asked]
    counts = np.bincount([a.answer for a in asked])
    assert stats.chisquare(counts).pvalue > 1e-3, "the right choice has no place of its own"


def test_a_question_by_hand() -> None:
    names = ["Anna Brown", "Carl Dahl", "Emma Frost", "Gus Holm", "Iris Jones"]
    text = " ".join(f"The letter was carried home that day by {n} alone." for n in names)
    asked = written(TextSource.of([Raw("d", text, "")], "t").documents, 3, 0)
    assert asked[1].question == "Anna Brown alone. The letter was carried home that day by"
    assert asked[1].choices[asked[1].answer] == "Carl Dahl"
    assert set(asked[1].choices) == set(names) - {"Anna Brown"}, "which the question names itself"
    assert asked[1].citations == ("The letter was carried home that day by Carl Dahl alone.",)


def test_like_questions_become_one_with_a_weight() -> None:
    def one(name: str, text: str) -> Asked:
        return Asked(name, "d", "word", text, ("w", "x", "y", "z"), 0, ("c",))

    long = "the ship sailed over a wide and silent ocean towards the northern harbour in a"
    kept = distinct([one("a", long), one("b", "prices of copper fell again in most of the"), one("c", long + " thick")])
    assert [(a.id, a.weight) for a in kept] == [("a", 2), ("b", 1)]
    assert distinct([]) == []


@given(some.lists(some.integers(0, 5), min_size=3, max_size=8))
def test_spearman_is_scipy_s(values: list[int]) -> None:
    known = np.arange(len(values), dtype=float)
    expected = stats.spearmanr(values, known).statistic if len(set(values)) > 1 else 0.0
    assert yb.spearman(np.array(values, dtype=float), known) == pytest.approx(expected)


class Skilled:
    """Models that know a share of the answers, by name, and otherwise guess."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, shares: dict[str, float]) -> None:
        monkeypatch.setattr(Place, "load", lambda _, model: SimpleNamespace(name=model))
        monkeypatch.setattr(Place, "content", lambda _, model: f"content of {model} {shares[model]}")
        monkeypatch.setattr(yb, "log_likelihoods", self.likelihoods)
        self.shares = shares

    def likelihoods(self, model: Any, asked: Sequence[Question], form: str) -> list[np.ndarray]:
        dice = np.random.default_rng(len(model.name))
        found = []
        for q in asked:
            lls = dice.standard_normal(len(q.choices))
            lls[q.answer] += 50 * (dice.random() < self.shares[model.name])
            found.append(lls)
        return found


def ranked(to: Path, models: Sequence[str], line: str = "yourbench(limit=300, order=typed)", **more: Any) -> Findings:
    return parse(line).run(Place(tuple(models), None, to, **more))


SHARES = {"m": 0.0, "mm": 0.3, "mmm": 0.6, "mmmm": 1.0}
RANK = "Spearman's correlation with the known order"


def test_models_of_known_order_are_ranked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Skilled(monkeypatch, SHARES)
    found = ranked(tmp_path, list(SHARES))
    assert found.numbers[RANK].value == pytest.approx(1.0)
    assert found.numbers["citations that stand in the text letter by letter"].value == 100
    assert [row[0] for row in found.tables[0].rows] == ["mmmm", "mmm", "mm", "m"]
    assert found.tables[0].rows[0][1] == 100, "an oracle"
    low, chance, high = (found.tables[0].rows[3][i] for i in (2, 1, 3))
    assert low < 25 < high, f"a guesser is at chance, not at {chance}"
    assert found.numbers["chance"].value == 0.25
    backwards = ranked(tmp_path, list(SHARES)[::-1])
    assert backwards.numbers[RANK].value == pytest.approx(-1.0)


def test_the_file_is_a_set_for_other_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Skilled(monkeypatch, SHARES)
    ranked(tmp_path, list(SHARES), "yourbench(limit=20, context=5, order=typed)")
    file = tmp_path / yb.FILE
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 20
    assert all(line["citations"] for line in lines)
    items = make("openbookqa", path=str(file)).items(TextSource.open(), lm())
    assert [i.data["question"].answer for i in items] == [line["answer"] for line in lines]
    assert not list(tmp_path.glob("*.part"))


def test_questions_that_are_brought_must_cite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Skilled(monkeypatch, SHARES)
    text = EMBEDDED.documents[0].text
    sentence = text[500:620]
    base = {"question": "What?", "choices": ["a", "b"], "answer": 1}
    lines = [
        base | {"id": "exact", "citations": [sentence]},
        base | {"id": "near", "question": "Who sailed?", "citations": [sentence[:50] + "qq" + sentence[52:]]},
        base | {"id": "made up", "question": "When?", "citations": ["Zebras quietly juggle forty-one xylophones."]},
        base | {"id": "half", "question": "Why?", "citations": [sentence, "Zebras juggle xylophones quietly."]},
    ]
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = ranked(tmp_path, list(SHARES), f'yourbench(questions="{file}", order=typed)')
    kept = [json.loads(line)["id"] for line in (tmp_path / yb.FILE).read_text().splitlines()]
    assert kept == ["exact", "near"]
    assert "4 written, 2 citations hold, 2 different, 2 asked" in found.notes[0]
    assert found.numbers["citations that stand in the text letter by letter"].value == 50


def test_a_text_without_questions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Too short.")
    with pytest.raises(TextError, match="gives no questions: 0 were written"):
        parse("yourbench").run(Place(("reference",), str(tmp_path / "a.txt"), tmp_path))


def test_likelihoods_and_bits_of_a_real_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny random one, twice: the same answers, more bits than a trained one needs, and no ranking of two."""
    monkeypatch.setattr(Place, "load", lambda *_: lm())
    monkeypatch.setattr(Place, "content", lambda *_: "tiny")
    monkeypatch.setattr(yb, "_PAGES", 1)
    found = ranked(tmp_path, ("one", "two"), "yourbench(limit=20, context=5)")
    (one, two) = found.tables[0].rows
    assert one[1:] == two[1:]
    assert 0 <= one[1] <= 100
    assert one[5] > 3
    assert RANK not in found.numbers
