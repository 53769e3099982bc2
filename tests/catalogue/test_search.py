"""Search by words and by meaning, filters, and BibTeX."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretolm import catalogue
from paretolm.catalogue.bibtex import bibtex
from paretolm.catalogue.filters import Filter
from paretolm.catalogue.meaning import Meaning
from paretolm.catalogue.search import Words
from paretolm.errors import UserError

from .made import entry, record

ENTRIES = catalogue.entries()


@cache
def words() -> Words:
    return Words(ENTRIES)


# --- by words ---


def test_stems_are_found_and_titles_come_first() -> None:
    found = Words([entry("a", "nothing"), entry("b", "it mentions quantization"), entry("c", title="Quantized models")])
    assert [e.id for e in found.find("quantize")] == ["c", "b"]


def test_all_words_are_asked_and_any_where_no_entry_has_all() -> None:
    found = Words([entry("a", "red green"), entry("b", "red"), entry("c", "blue")])
    assert [e.id for e in found.find("red green")] == ["a"]
    assert {e.id for e in found.find("red blue")} == {"a", "b", "c"}
    assert found.find("black") == found.find("") == found.find("?!") == []


@given(st.text(max_size=40))
def test_whatever_is_typed_is_no_error(text: str) -> None:
    assert len(words().find(text, 5)) <= 5


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("streaming-llm", "streaming-llm"),
        ("attention sinks", "streaming-llm"),
        ("optimal transport draft", "spectr"),
        ("pointer networks", "pointer-networks"),
        ("copyright", "copyright-traps"),
    ],
)
def test_what_a_user_would_type(text: str, first: str) -> None:
    assert words().find(text)[0].id == first


def test_ten_thousand_entries_are_all_searched() -> None:
    """Counts by hand: every tenth entry has the word, every thousandth both."""
    made = [
        entry(f"e{i}", f"filler {i}" + " needle" * (i % 10 == 0) + " thread" * (i % 1000 == 0)) for i in range(10_000)
    ]
    found = Words(made)
    assert len(found.find("needle", 20_000)) == 1000
    assert len(found.find("needle thread", 20_000)) == 10
    assert len(found.find("filler", 20_000)) == 10_000
    assert len(found.find("filler", 50)) == 50


# --- by meaning ---


def test_topics_without_a_word_in_common_are_neighbours() -> None:
    """Each document has two words of its topic's six, so that many pairs share none."""
    draw = random.Random(0)
    topics = {
        "a": ["lion", "bear", "wolf", "tiger", "eagle", "whale"],
        "b": ["car", "bus", "tram", "ship", "bike", "van"],
    }
    made = [entry(f"{name}{i}", " ".join(draw.sample(topic, 2))) for name, topic in topics.items() for i in range(40)]
    ours = Meaning(made, dimensions=2)
    for one in made:
        near = [other for other, _ in ours.like(one, 39)]
        assert all(other.id[0] == one.id[0] for other in near)
    assert all(e.id[0] == "b" for e, _ in ours.find("tram tram ship", 20))
    assert ours.find("qqq") == []
    stranger = entry("c", "qqq")
    assert Meaning([*made, stranger], dimensions=2).like(stranger) == []


def test_neighbours_in_the_catalogue_share_a_family_far_more_often_than_by_chance() -> None:
    """Vectors do not hold the family's name. By chance: 7% (the share of the own family, averaged)."""
    ours = Meaning(ENTRIES)
    family = np.array([e.family for e in ENTRIES])
    chance = np.mean([(family == f).mean() for f in family])
    same = np.mean([near.family == e.family for e in ENTRIES for near, _ in ours.like(e, 5)])
    assert chance < 0.1
    assert same > 4 * chance


def test_neighbours_do_not_hold_the_paper_itself_and_fall_in_cosine() -> None:
    one = catalogue.find("spectr")
    near = Meaning(ENTRIES).like(one, 20)
    assert one not in [e for e, _ in near]
    assert [c for _, c in near] == sorted((c for _, c in near), reverse=True)
    assert "rsd" in [e.id for e, _ in near[:5]]


# --- filters ---


def test_filters_agree_between_fields_and_choose_within_one() -> None:
    a = entry("a", slots=("keep",), date="2024-01-02")
    b = entry("b", family="attention", slots=("attend", "keep"), needs=("GPU",))
    c = entry("c", family="", kind="listed")
    for ask, kept in (
        (Filter(), "abc"),
        (Filter(families=("cache",)), "a"),
        (Filter(families=("cache", "attention")), "ab"),
        (Filter(slots=("attend",)), "b"),
        (Filter(slots=("keep",), families=("attention",)), "b"),
        (Filter(needs=("none",)), "a"),
        (Filter(needs=("GPU", "none")), "ab"),
        (Filter(since="2024-01-01"), "a"),
        (Filter(verdicts=("partly",)), "a"),
        (Filter(verdicts=("none",)), "bc"),
        (Filter(kinds=("listed",)), "c"),
        (Filter(kinds=("method",)), "ab"),
        (Filter(families=("unknown",)), "c"),
        (Filter(needs=("unknown",)), "c"),
        (Filter(slots=("unknown", "attend")), "bc"),
        (Filter(slots=("none",)), ""),
    ):
        beside = {"a": record("a", "partly", "not")}
        assert "".join(e.id for e in (a, b, c) if ask.keeps(e, beside.get(e.id))) == kept, ask


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (Filter(families=("cach",)), "--family 'cach' is unknown; did you mean 'cache'"),
        (Filter(slots=("block-",)), "did you mean 'block'"),
        (Filter(needs=("gpu",)), "--need 'gpu' is unknown"),
        (Filter(verdicts=("reproducd",)), "did you mean 'reproduced'"),
        (Filter(kinds=("methods",)), "did you mean 'method'"),
        (Filter(since="last week"), "write it as 2024-05-31"),
        (Filter(since="2024-02-30"), "no day of the calendar"),
    ],
)
def test_a_value_that_no_entry_can_have_is_a_sentence(ask: Filter, told: str) -> None:
    with pytest.raises(UserError, match=told):
        ask.check(ENTRIES)


# --- BibTeX ---


def test_bibtex_is_escaped_and_names_the_source() -> None:
    one = entry("a-b", title="50% of R&D: {x}_1 #2 E^2", arxiv="2401.00001", date="2024-01-02")
    assert bibtex([one]).splitlines() == [
        "@misc{a-b,",
        r"  title = {{50\% of R\&D: \textbraceleft{}x\textbraceright{}\_1 \#2 E\textasciicircum{}2}},",
        "  year = {2024},",
        "  month = {1},",
        "  eprint = {2401.00001},",
        "  archiveprefix = {arXiv},",
        "  url = {https://arxiv.org/abs/2401.00001},",
        "}",
    ]
    assert bibtex(ENTRIES).count("@misc{") == 232
    assert "eprint" not in bibtex([entry("a")])


def test_bibtex_has_authors_and_doi_where_they_are_known() -> None:
    one = entry("a", authors=("Jane Doe", "ACME, Inc.", "Black and White"), doi="10.1000/a_b", kind="listed")
    told = bibtex([one]).splitlines()
    assert "  author = {Jane Doe and {ACME, Inc.} and {Black and White}}," in told
    assert r"  doi = {10.1000/a\_b}," in told
    assert "  url = {https://doi.org/10.1000/a_b}," in told
    assert "author" not in bibtex(ENTRIES)


@given(st.text(max_size=60), st.lists(st.text(min_size=1, max_size=20), max_size=3))
def test_bibtex_stays_balanced_whatever_a_title_holds(title: str, authors: list[str]) -> None:
    """BibTeX counts braces, also those behind a backslash."""
    depth = 0
    for letter in bibtex([entry("a", title=title, authors=tuple(authors), doi="10.1000/{%}")]):
        depth += (letter == "{") - (letter == "}")
        assert depth >= 0
    assert depth == 0
