"""OHRBench: noise, retrieval and reading, each with known answers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from paretolm.errors import TextError, UserError
from paretolm.studies import ohrbench as ohr
from paretolm.studies._ocr_noise import formatting, noisy, semantic
from paretolm.studies._retrieval import Bm25, recovered
from paretolm.studies.study import Place

TEXT = "The quick brown fox jumps over 13 lazy dogs while modern clocks tick."


# --- noise ---


def test_no_noise_changes_nothing() -> None:
    assert noisy(TEXT, "semantic", 0.0, 1) == noisy(TEXT, "formatting", 0.0, 1) == TEXT


def test_every_word_is_damaged_at_a_share_of_one() -> None:
    assert all(a != b for a, b in zip(TEXT.split(), noisy(TEXT, "semantic", 1.0, 1).split(), strict=True))


@given(
    some.text(alphabet=some.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12),
    some.integers(0, 99),
)
def test_formatting_keeps_the_characters(word: str, seed: int) -> None:
    left = iter(formatting(word, np.random.default_rng(seed)))
    assert all(letter in left for letter in word)


def test_semantic_noise_confuses_shapes() -> None:
    found = {semantic("modern", np.random.default_rng(s)) for s in range(60)}
    assert "modem" in found
    assert "modern" not in found
    assert semantic("#", np.random.default_rng(0)) == ""


def test_more_noise_holds_the_less() -> None:
    words = TEXT.split()
    mild, strong = (noisy(TEXT, "semantic", share, 3).split() for share in (0.3, 0.7))
    damaged = [w != m for w, m in zip(words, mild, strict=True)]
    assert 0 < sum(damaged) < len(words)
    assert all(s == m for s, m, hit in zip(strong, mild, damaged, strict=True) if hit)


# --- retrieval ---


def test_bm25_by_hand() -> None:
    """Two passages of 2 and 4 words, mean 3: idf = ln(1 + 1.5/1.5) = ln 2 for a word in one of two."""
    found = Bm25(["a b", "c c d e"], k1=1.5, b=0.75).scores("c")
    assert found[0] == 0
    assert found[1] == pytest.approx(math.log(2) * 2 * 2.5 / (2 + 1.5 * (0.25 + 0.75 * 4 / 3)))


def test_the_passage_with_the_rare_word_comes_first() -> None:
    index = Bm25(["the key of Anna is 1", "the key of Ben is 2", "the cat"])
    assert index.best("the key of Ben", 2) == [1, 0]
    assert index.best("nothing known", 2) == [0, 1]


@pytest.mark.parametrize(
    ("evidence", "text", "share"),
    [("a b c", "x a y b z c", 1.0), ("a b c", "c b a", 1 / 3), ("a b", "", 0.0), ("", "a", 1.0)],
)
def test_recovered_words_in_order(evidence: str, text: str, share: float) -> None:
    assert recovered(evidence, text) == pytest.approx(share)


# --- the set ---


def test_every_query_has_its_fact_in_its_passage(tmp_path: Path) -> None:
    passages, asked = ohr.from_text(Place(output=tmp_path).source, 30, 0)
    assert len(asked) == 30
    for q in asked:
        assert q.evidence in passages[q.passage]
        assert q.answers[0] in q.evidence
    index = Bm25(passages)
    assert all(index.best(q.text, 1) == [q.passage] for q in asked), "clean text is found"


def folder(place: Path, passage: str = "p1") -> Path:
    place.mkdir()
    lines = {
        "corpus": {"id": "p1", "title": "T", "text": "Paris is in France."},
        "queries": {"id": "q1", "text": "where is Paris", "answers": ["France"]},
        "qrels": {"query": "q1", "passage": passage, "score": 1},
    }
    for name, line in lines.items():
        (place / f"{name}.jsonl").write_text(json.dumps(line))
    return place


def test_a_set_from_a_folder(tmp_path: Path) -> None:
    passages, (query,) = ohr.from_folder(str(folder(tmp_path / "a")), 5)
    assert passages == ["T Paris is in France."]
    assert (query.passage, query.evidence, query.planted) == (0, "France", False)
    with pytest.raises(TextError, match=r"query q1 has no passage"):
        ohr.from_folder(str(folder(tmp_path / "b", passage="p9")), 5)
    with pytest.raises(TextError, match="there is no file"):
        ohr.from_folder(str(tmp_path / "none"), 5)


# --- the whole ---


class Copying:
    """A reader that finds the key of the person asked for, if its sentence is whole: the oracle."""

    def ask(self, query: ohr.Query, passages: list[str]) -> tuple[float, float]:
        right = float(any(query.evidence in p for p in passages))
        return right, right


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: object) -> ohr.Findings:
    monkeypatch.setattr(Place, "content", lambda self, model: model)
    monkeypatch.setattr(Place, "load", lambda self, model: object())
    monkeypatch.setattr(ohr.Session, "open", lambda *_: __import__("contextlib").nullcontext())
    monkeypatch.setattr(ohr, "Reader", lambda *_: reader)
    return ohr.Ohrbench(queries=30, resamples=100).run(Place(output=tmp_path))


def test_an_oracle_reads_all_of_clean_text_and_less_of_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(tmp_path, monkeypatch, Copying())
    (table,) = found.tables
    clean, strong = table.rows[0], table.rows[4]
    assert clean[2:] == (100.0, 100.0, 100.0, 100.0, 100.0)
    assert (strong[0], strong[1]) == ("semantic", 40.0)
    assert float(strong[6] or 0) < 30
    assert found.numbers["semantic noise: answer"].value < -0.9
    assert len(found.rows) == 9 * 30


def test_a_reader_that_knows_nothing_shows_no_trend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def ask(self, query: ohr.Query, passages: list[str]) -> tuple[float, float]:
            return 0.0, 0.0

    found = run(tmp_path, monkeypatch, Silent())
    assert found.numbers["semantic noise: answer"].value == 0.0
    assert found.numbers["semantic noise: retrieval"].value < 0, "retrieval does not ask the reader"


def test_levels_rise(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rising"):
        ohr.Ohrbench(levels=(0.2, 0.1))


def test_a_real_model_answers_from_the_right_passage(tmp_path: Path) -> None:
    """The embedded reference, one fact in front of it."""
    at = Place(output=tmp_path)
    lm = at.load("reference")
    passages, asked = ohr.from_text(at.source, 3, 0)
    with ohr.Session.open(lm, ohr.Recipe()) as session:
        reader = ohr.Reader(lm, session)
        assert [reader.ask(q, [passages[q.passage]]) for q in asked] == [(1.0, 1.0)] * 3
        assert reader.ask(asked[0], [passages[asked[1].passage]]) == (0.0, 0.0)
