"""The file of papers: whole, in order, in agreement with what the code says of the same papers."""

from __future__ import annotations

from pathlib import Path

import pytest

from paretolm import catalogue, papers
from paretolm.catalogue.entry import NEEDS, SLOTS, read
from paretolm.catalogue.joined import runs
from paretolm.contracts import Slot
from paretolm.errors import StoreError, UserError
from paretolm.recipes.index import methods

from .made import entry

ENTRIES = catalogue.entries()
SURVEYED = ("method", "study", "model", "benchmark", "survey", "system", "metric", "theory", "dataset")


def test_every_paper_stands_once_the_newest_first() -> None:
    assert len(ENTRIES) == len({e.id for e in ENTRIES}) == 232
    known = [e.arxiv for e in ENTRIES if e.arxiv]
    assert len(known) == len(set(known)) >= 230
    dates = [e.date or "" for e in ENTRIES]
    assert dates == sorted(dates, reverse=True)


@pytest.mark.parametrize("one", ENTRIES, ids=lambda e: e.id)
def test_an_entry_is_told_in_full_sentences(one: catalogue.Entry) -> None:
    for text in (one.says, one.claims, one.shows):
        assert text.endswith(".")
        assert 20 <= len(text) <= 320
        assert text[0].isupper() or text[0].isdigit()
    assert one.kind in SURVEYED
    if one.kind in ("study", "benchmark", "survey", "metric", "dataset") and not runs(one).methods:
        assert not one.slots


def test_the_month_of_an_arxiv_id_is_that_of_the_date_or_the_next() -> None:
    for e in ENTRIES:
        if e.arxiv and e.date:
            year, month = int(e.date[:4]), int(e.date[5:7])
            later = (year + month // 12, month % 12 + 1)
            assert (2000 + int(e.arxiv[:2]), int(e.arxiv[2:4])) in ((year, month), later), e.id


def test_what_runs_here_is_of_the_paper_it_names() -> None:
    """An id written in a method or in a check is that of the entry."""
    by_id = {e.id: e for e in ENTRIES}
    ours = [m for m in methods() if m.name in by_id and not m.baseline]
    assert len(ours) > 20
    for m in ours:
        assert by_id[m.name].arxiv in m.papers, m.name
    for name in papers.names():
        if name in by_id:
            assert by_id[name].arxiv == papers.find(name).arxiv[0], name
            assert by_id[name].family == papers.find(name).family, name


def test_slots_are_those_of_the_contracts() -> None:
    assert tuple(slot.value for slot in Slot) == SLOTS
    assert {n for e in ENTRIES for n in e.needs} == set(NEEDS)
    assert {s for e in ENTRIES for s in e.slots} == set(SLOTS)


def test_a_paper_is_found_by_id_and_by_arxiv_id() -> None:
    assert catalogue.find("streaming_llm") is catalogue.find("arXiv:2309.17453")
    with pytest.raises(UserError, match="did you mean 'streaming-llm'"):
        catalogue.find("streaming")
    with pytest.raises(UserError, match="lists them"):
        catalogue.find("qqq")


@pytest.mark.parametrize("line", ["{", "[]", '{"id": "a"}'])
def test_a_file_of_anything_else_is_told_by_its_line(tmp_path: Path, line: str) -> None:
    good = catalogue.FILE.read_text(encoding="utf-8").splitlines()[0]
    (tmp_path / "papers.jsonl").write_text(f"{good}\n{line}\n", encoding="utf-8")
    with pytest.raises(StoreError, match="line 2"):
        read(tmp_path / "papers.jsonl")


def test_dates_compare_as_far_as_they_are_known() -> None:
    assert entry("a", date="2024-05-31").since("2024-05-31")
    assert not entry("a", date="2024-05-30").since("2024-05-31")
    assert entry("a", date="2024-05").since("2024-05-31")
    assert not entry("a").since("2000-01-01")
