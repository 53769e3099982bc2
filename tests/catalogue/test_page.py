"""The static site: every paper, escaped, with what its filters go by."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from paretolm import catalogue
from paretolm.catalogue.page import render, write_site
from paretolm.errors import StoreError

from .made import entry, record


def test_every_paper_stands_once_with_its_facts() -> None:
    text = render(catalogue.entries(), {"think": record("think", "partly", "not")})
    assert len(re.findall(r'<article class="paper"', text)) == 232
    (think,) = re.findall(r'<article class="paper" id="think".*?</article>', text, flags=re.DOTALL)
    for told in (
        'data-family="cache"', 'data-slot="store"', 'data-need="none"', 'data-verdict="not|partly"', " data-runs",
        "https://arxiv.org/abs/2407.21018", "paretolm compare -m &#34;think&#34;", "1 partly, 1 not reproduced",
        "measured: speed: 2.00 x [1.50, 2.50]",
    ):  # fmt: skip
        assert told in think
    days = re.findall(r"<h2>(\d{4}-\d\d(?:-\d\d)?)</h2>", text)
    assert days == sorted(set(days), reverse=True)


def test_it_asks_no_network_and_lets_nothing_through() -> None:
    one = entry("a", "<script>alert(1)</script>", title='"><img src=x>', date="2024-01-02")
    text = render([one], {})
    assert text.count("<script>") == 1
    assert "<img" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert not re.findall(r'(?:src|href)="(?!#|https://arxiv)', text)
    assert "default-src 'none'" in text


def test_what_was_only_listed_has_no_claims_and_a_link_made_of_its_id() -> None:
    one = entry("doi-1", title="T", kind="listed", family="", doi='10.1000/"x', authors=("A B",), categories=("cs.CL",))
    text = render([one], {})
    assert 'data-family="unknown" data-kind="listed" data-slot="unknown" data-need="unknown"' in text
    assert 'href="https://doi.org/10.1000/%22x"' in text
    assert "listed, not runnable here · cs.CL" in text
    assert "<details>" not in text


def test_undated_papers_stand_last() -> None:
    text = render([entry("b"), entry("a", date="2024-01")], {})
    assert text.index('id="a"') < text.index("date unknown") < text.index('id="b"')


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    assert write_site(tmp_path / "new", [entry("a")], {}).read_text(encoding="utf-8").startswith("<!doctype html>")
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StoreError, match="cannot be written"):
        write_site(tmp_path / "file", [entry("a")], {})
