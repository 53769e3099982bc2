"""The page, the table and the records: what is shown, and what is never let through."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from paretolm.errors import StoreError
from paretolm.papers.page import render, write_page
from paretolm.papers.records import FORMAT, read_records, write_record
from paretolm.papers.strip import strip
from paretolm.papers.table import label, markdown, measured, show
from paretolm.papers.verdict import VERDICTS


def claim(state: str, **more: Any) -> dict[str, Any]:
    number = {"value": 2.0, "unit": "%", "low": 1.0, "high": 3.0, "n": 30, "note": "documents"}
    limit = {"number": "loss", "at_most": 5.0, "expected": 0.0, "outcome": "met", "smallest": 1.4}
    told = {
        "says": "It loses <nothing>.",
        "metric": "perplexity",
        "setting": "PG19",
        "size": "7B",
        "figure": "0|1%",
        "section": "table 1",
        "experiment": "h2o on recall",
        "state": state,
        "why": "loss 2.00% [1.00, 3.00], asked at most 5.00",
        "numbers": {"loss": number},
        "limits": [limit],
        "needs": [],
        "keys": ["abcdef0123456789"],
        "models": {"reference": "0123456789abcdef"},
        "seconds": 61.0,
    }
    return told | more


def record(name: str = "paper", *claims: dict[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "id": name,
        "title": "On <script>alert(1)</script>",
        "arxiv": ["2309.17453"],
        "family": "cache",
        "versions": {"paretolm": "0.1.0"},
        "check": "f" * 64,
        "code": "c" * 64,
        "machine": "a machine",
        "created": "2026-01-01T00:00:00+00:00",
        "seconds": 90.0,
        "claims": list(claims) or [claim(state) for state in VERDICTS],
    }


def test_every_verdict_has_its_place_and_its_count() -> None:
    page = render([record(), record("other", claim("not"), claim("failed", numbers={}, why="it <broke>"))])
    for state, count in {"reproduced": 1, "partly": 1, "not": 2, "not testable at this scale": 1, "failed": 1}.items():
        assert f'data-state="{state}" aria-pressed="false"><b>{count}</b>{label(state)}' in page
        assert len(re.findall(rf'<article class="claim" data-state="{state}"', page)) == count
    assert "it &lt;broke&gt;" in page
    assert "<option>cache</option>" in page


def test_the_page_needs_nothing_else_and_lets_nothing_through() -> None:
    page = render([record()])
    assert "<script>alert(1)" not in page
    assert "It loses &lt;nothing&gt;." in page
    assert not re.findall(r'(?:src|href)="(?!https://arxiv\.org/abs/|#)', page)
    assert len(page) < 100_000


def test_numbers_stand_with_interval_count_and_limit() -> None:
    page = render([record("paper", claim("reproduced"))])
    assert "<b>2.00% [1.00, 3.00]</b> loss" in page
    assert "n 30; documents" in page
    assert "asked at most 5.00: met" in page


def test_a_strip_puts_the_bound_between_what_was_asked_and_the_rest() -> None:
    found = strip({"value": 2.0, "low": 1.0, "high": 3.0}, {"at_most": 5.0, "expected": 0.0})
    assert found is not None
    assert found["asked"] == 0.0
    assert found["low"] < found["value"] < found["bound"] == found["asked_width"]
    least = strip({"value": 2.0, "low": 1.0, "high": 3.0}, {"at_least": 5.0, "expected": 9.0})
    assert least is not None
    assert least["value"] < least["asked"] == least["bound"]
    assert strip({"value": 2.0, "low": None, "high": None}, {"at_most": 5.0, "expected": 0.0}) is None
    flat = strip({"value": 0.0, "low": 0.0, "high": 0.0}, {"at_most": 0.0, "expected": 0.0})
    assert flat is not None
    assert 0 < flat["value"] < 220


def test_markdown_rows_have_as_many_cells_as_their_head() -> None:
    lines = list(markdown([record()]))
    assert lines[0] == "4 claims of 1 papers: 1 reproduced, 1 partly, 1 not reproduced, 1 not testable here."
    rows = [re.split(r"(?<!\\)\|", line) for line in lines if line.startswith("|")]
    assert {len(row) for row in rows} == {6}
    assert "**not reproduced**" in "\n".join(lines)


def test_the_table_prints_states_without_numbers_too(capsys: pytest.CaptureFixture[str]) -> None:
    show([record("paper", claim("not run", numbers={}, why="needs SET in the directory given as --data"))])
    out = " ".join(capsys.readouterr().out.split())
    assert "not run" in out
    assert measured(claim("not run", numbers={}, why="needs SET")) == ["needs SET"]


def test_records_are_written_whole_and_read_back(tmp_path: Path) -> None:
    made = record()
    path = write_record(tmp_path / "new", made)
    assert json.loads(path.read_text()) == made
    assert read_records(tmp_path / "new") == [made]
    assert write_page(tmp_path / "new").name == "index.html"
    assert not list((tmp_path / "new").glob("*.part"))


def test_a_file_that_is_no_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd.json").write_text("[]")
    with pytest.raises(StoreError, match=r"odd\.json is no record"):
        read_records(tmp_path)
    (tmp_path / "odd.json").write_text('{"format": 0}')
    with pytest.raises(StoreError, match="another paretolm; run this check again"):
        read_records(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="give another -o"):
        write_record(tmp_path / "file", record())
