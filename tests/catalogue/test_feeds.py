"""Feeds of both shapes as they were recorded, broken ones, and hostile ones."""

from __future__ import annotations

import json
import re
import string
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretolm.catalogue.facts import Facts, arxiv_id, plain
from paretolm.catalogue.feeds import FeedError, read

RECORDED = Path(__file__).parent / "recorded"
ATOM = (RECORDED / "atom.xml").read_bytes()


def atom(entries: str) -> bytes:
    return f'<feed xmlns="http://www.w3.org/2005/Atom"><title>t</title>{entries}</feed>'.encode()


def daily(**paper: object) -> bytes:
    return json.dumps([{"paper": {"id": "2409.00002", "title": "A title", **paper}}]).encode()


# --- as recorded ---


def test_an_answer_of_arxivs_api() -> None:
    found = read(ATOM, "atom.xml")
    sinks, attention, limit = found.papers
    assert sinks == Facts(
        "Efficient Streaming Language Models with Attention Sinks", "2309.17453",
        authors=("Guangxuan Xiao", "Yuandong Tian", "Beidi Chen", "Song Han", "Mike Lewis"),
        published="2023-09-29", updated="2024-04-07", categories=("cs.CL", "cs.AI"),
    )  # fmt: skip
    assert attention.title == "Attention Is All You Need"  # it was wrapped
    assert len(attention.authors) == 8
    assert attention.categories == ("cs.CL", "cs.LG")  # I.2.7 is no category of arXiv
    assert (limit.arxiv, limit.doi) == ("hep-th/9711200", "10.1023/a:1026654312961")
    assert found.refused == ("entry 4 (Error): arXiv says 'incorrect id format for 1234'",)


def test_rss_of_a_category() -> None:
    new, replaced, cross = read((RECORDED / "category.rss").read_bytes(), "category.rss").papers
    assert new.title == r"A made-up paper about caches & sinks for $O(n \log n)$ readers"
    assert (new.arxiv, new.published, new.categories) == ("2409.00001", "2024-09-02", ("cs.CL", "cs.LG"))
    assert new.authors == ("Ada Made", "Béla Példa, Jr.", "Cem Örnek")
    assert len(replaced.authors) == 8
    assert (replaced.published, replaced.updated) == (None, "2023-08-02")  # when the version came, not the paper
    assert cross.published is None


def test_daily_papers() -> None:
    made, think = read((RECORDED / "daily.json").read_bytes(), "daily.json").papers
    assert (made.arxiv, made.published, made.authors) == ("2409.00002", "2024-08-31", ("Eve Fictive", "Faruk Kurgu"))
    assert think.arxiv == "2407.21018"


def test_no_abstract_is_kept() -> None:
    for path in RECORDED.iterdir():
        assert b"Not kept." in path.read_bytes()
        assert "Not kept" not in repr(read(path.read_bytes(), path.name))


# --- what is no feed ---


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "it is empty"),
        (b" \n ", "is empty"),
        (b"\xff\xfe<\x00f\x00", "no text in UTF-8"),
        (b"Rate exceeded.", "begins with 'Rate exceeded.'"),
        (b"<!DOCTYPE html><html><body>busy</body></html>", "page of HTML"),
        (b"<html><body>busy</body></html>", "page of HTML"),
        (ATOM[: len(ATOM) // 2], "broken XML.*line"),
        (atom("<entry>"), "broken XML"),
        (b"<opml version='2.0'><body/></opml>", "its root is <opml>"),
        (b"<!-- -->" + b" " * 5000 + b"<feed/>", "no element begins"),
        (b"[1, 2", "no JSON"),
        (b"{}", "holds no list"),
        (b'{"error": "Invalid date"}', "it says 'Invalid date'"),
        (b'[{"paper": {"upvotes": NaN}}]', "NaN is no number"),
        (b'[{"paper": {"upvotes": -Infinity}}]', "no number"),
        (b"[" * 200_000, "nested too deeply"),
    ],
)
def test_a_broken_feed_is_one_sentence(data: bytes, told: str) -> None:
    with pytest.raises(FeedError, match=told.removeprefix("it ")) as raised:
        read(data, "the feed")
    assert str(raised.value).startswith("the feed ")
    assert "\n" not in str(raised.value)


def test_entities_are_not_expanded_and_no_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))
    for head in (
        f'<!DOCTYPE feed [<!ENTITY l0 "ha">{laughs}]>',
        f'<!DOCTYPE feed [<!ENTITY l11 SYSTEM "{(tmp_path / "secret").as_uri()}">]>',
        f'<!-- <a> --><!doctype feed SYSTEM "{(tmp_path / "secret").as_uri()}">',
    ):
        bomb = head.encode() + atom("<entry><id>http://arxiv.org/abs/2401.00001</id><title>&l11;</title></entry>")
        with pytest.raises(FeedError, match="declares a document type"):
            read(bomb, "x")
    with pytest.raises(FeedError, match="undefined entity"):
        read(atom("<entry><title>&l11;</title></entry>"), "x")


# --- entries that name no paper ---


@pytest.mark.parametrize(
    ("item", "told"),
    [
        (None, "entry 1: it holds no 'paper'"),
        ({"paper": []}, "entry 1: it holds no 'paper'"),
        ({"paper": {}}, "entry 1: it has no title"),
        ({"paper": {"title": "A"}}, r"entry 1 \(A\): it names neither"),
        ({"paper": {"title": "A", "id": 5}}, "neither"),
        ({"paper": {"title": "A", "id": "2413.00001"}}, "neither"),  # no month 13
        ({"paper": {"title": "A", "id": "../../etc"}}, "neither"),
        ({"paper": {"title": "A" * 5000, "id": "2401.00001"}}, "5000 characters"),
        ({"paper": {"title": " \u202e ", "id": "2401.00001"}}, "no title"),
    ],
)
def test_an_entry_is_refused_and_the_others_are_read(item: object, told: str) -> None:
    good = json.loads(daily())[0]
    found = read(json.dumps([item, good]).encode(), "x")
    assert [paper.arxiv for paper in found.papers] == ["2409.00002"]
    (why,) = found.refused
    assert re.search(told, why)


def test_missing_and_odd_values_stay_unknown() -> None:
    far = (datetime.now(UTC) + timedelta(days=400)).isoformat()
    for odd in (None, 7, "yesterday", far, {"a": 1}):
        (paper,) = read(daily(publishedAt=odd, authors=odd), "x").papers
        assert paper.published is None
        assert paper.authors == ()
    (paper,) = read(daily(authors=[{"name": ""}, {"name": 4}, "x", {"name": "Jane  Doe\x1b[31m"}]), "x").papers
    assert paper.authors == ("Jane Doe [31m",)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2401.00001", "2401.00001"), ("2401.00001v12", "2401.00001"), ("arXiv:0704.0001", "0704.0001"),
        ("https://arxiv.org/pdf/2401.00001v2.pdf", "2401.00001"), ("http://export.arxiv.org/abs/2401.00001", "2401.00001"),
        ("oai:arXiv.org:2401.00001v1", "2401.00001"), ("10.48550/arXiv.2401.00001", "2401.00001"),
        ("math.GT/0309136v1", "math/0309136"), ("cond-mat/9901001", "cond-mat/9901001"),
        ("2400.00001", None), ("https://arxiv.org.evil.example/abs/2401.00001", None), ("٢٤٠١.00001", None), ("", None),
        ("javascript:alert(1)//2401.00001", None),
    ],
)  # fmt: skip
def test_ids_of_arxiv(text: str, found: str | None) -> None:
    assert arxiv_id(text) == found


def test_an_id_in_a_doi_is_arxivs_own() -> None:
    assert Facts.of("A", ["https://doi.org/10.48550/arXiv.2401.00001"]) == Facts("A", "2401.00001")
    assert Facts.of("A", ["doi:10.1000/XYZ"]) == Facts("A", doi="10.1000/xyz")


# --- hostile ---

hostile = st.text(max_size=40) | st.sampled_from(
    ["<script>alert(1)</script>", "\u202egnp.exe", "مرحبا بالعالم", "👩‍🔬", "\x1b]0;title\x07", "a\u2028b", "\ud800"]
)


@given(hostile, st.lists(hostile, max_size=3))
def test_whatever_json_holds_is_kept_as_plain_lines(title: str, names: list[str]) -> None:
    found = read(daily(title=title, authors=[{"name": name} for name in names]), "x")
    assert len(found.papers) + len(found.refused) == 1
    for paper in found.papers:
        for text in (paper.title, *paper.authors):
            assert text == plain(text)
            assert len(text.splitlines()) == 1
            assert text.encode()


# feedparser undoes what was encoded twice, and takes some rare words of Latin-1 for that.
LETTERS = st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff").filter(
    lambda letter: not 128 <= ord(letter) < 256
)


@given(st.text(LETTERS, min_size=1, max_size=40))
def test_titles_of_atom_are_taken_literally(title: str) -> None:
    entry = f"<entry><id>http://arxiv.org/abs/2401.00001v1</id><title>{escape(title)}</title></entry>"
    for paper in read(atom(entry), "x").papers:
        assert paper.title == plain(title)


@given(st.binary(max_size=200) | st.text(string.printable, max_size=200).map(str.encode))
def test_whatever_arrives_is_read_or_refused(data: bytes) -> None:
    for start in (b"", b"<feed>", b"[", ATOM[:400]):
        with suppress(FeedError):
            assert read(start + data, "x").papers == ()
