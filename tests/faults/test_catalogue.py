"""The catalogue and its site with titles from anywhere. More in tests/catalogue and tests/bench/test_report.py."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from paretolm import catalogue
from paretolm.bench.report.render import render as render_report
from paretolm.catalogue.page import render
from paretolm.catalogue.search import Words
from tests.bench.synthetic import comparison
from tests.catalogue.made import entry

TITLES = [
    "</script><script>alert(1)</script>",
    "</title><img src=x onerror=alert(1)>",
    "שלום עולם: קשב מהיר",
    "\u202egnihtyreve esrever\u202c",
    "🦊🪿 a fox & a goose",
    "Ünïcode 漢字 \u0301",
    "{{ 7 * 7 }} {% raise %}",
    "x" * 5000,
    "",
]


class Page(HTMLParser):
    """Text of elements by tag, ids and links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        facts = dict(attrs)
        self.ids += [facts["id"]] if facts.get("id") else []
        self.links += [facts["href"]] if facts.get("href") else []
        assert not [name for name in facts if name.startswith("on")], "no handler in an attribute"

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("title", TITLES, ids=range(len(TITLES)))
def test_any_title_is_text_and_is_found(title: str) -> None:
    one = entry("odd", "What is done.", title=title)
    page, plain = Page(render([one], {})), Page(render([entry("odd", "What is done.", title="plain")], {}))
    assert page.tags == plain.tags, "the title made no element"
    assert title in page.text
    words = Words([one, entry("other", "Something else.")])
    assert [found.id for found in words.find("done")] == ["odd"]
    if word := re.search(r"\b[^\W\d_]{4,40}\b", title):
        assert "odd" in [found.id for found in words.find(word[0])]


@pytest.mark.parametrize("title", TITLES[:7], ids=range(7))
def test_any_title_of_a_report_is_text(title: str) -> None:
    page, plain = Page(render_report(comparison(2, title=title))), Page(render_report(comparison(2, title="plain")))
    assert page.tags == plain.tags
    assert title in page.text


def test_no_link_is_dead_within_the_page_and_outside_ones_are_of_known_papers() -> None:
    page = Page(render(catalogue.entries(), {}))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    known = {f"https://arxiv.org/abs/{one.arxiv}" for one in catalogue.entries() if one.arxiv}
    outside = {link for link in page.links if not link.startswith("#")}
    assert len(outside & known) > 200
    assert all(re.fullmatch(r"https://arxiv\.org/abs/\d{4}\.\d{4,5}", link) for link in outside & known)


def test_a_paper_without_an_address_has_no_link() -> None:
    with_link, without = (Page(render([entry("a", arxiv=arxiv)], {})).links for arxiv in ("2407.21018", None))
    assert any("2407.21018" in link for link in with_link)
    assert not [link for link in without if "arxiv.org/abs" in link]
