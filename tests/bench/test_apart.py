"""Pairs of recipes that perplexity calls alike: by hand, and printed under the table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from paretolm.bench.compare import compare
from paretolm.bench.plan import Cell
from paretolm.bench.records.store import CellRecord, Scored
from paretolm.bench.report.apart import MOST, groups, section, told_apart
from paretolm.bench.report.render import render
from paretolm.bench.report.table import remarks, table
from paretolm.bench.results.apart import apart, pairs_alike
from paretolm.bench.results.gather import Measured
from paretolm.bench.results.types import Apart, CellResult, Comparison, Estimate, Metric, RecipeResult, TaskInfo
from paretolm.evaluation.rows import Row
from paretolm.evaluation.suites.llm_kick import LlmKick
from tests.bench.synthetic import comparison

PPL = TaskInfo("perplexity", "perplexity", "1", "", ("perplexity",), 1, 1, "", (), "perplexity")
RECALL = TaskInfo("recall", "recall", "1", "", ("recall",), 40, 40, "", (), "retrieval")


def result(name: str, perplexity: float, recall: float, state: str = "done") -> RecipeResult:
    def cell(task: str, value: float, unit: str, which: str) -> CellResult:
        return CellResult(task, which, metrics=(Metric(task, unit == "%", Estimate(value, None, None, unit, 40, 40)),))  # type: ignore[arg-type]

    cells = cell("perplexity", perplexity, "", state), cell("recall", recall, "%", "done")
    return RecipeResult(line=name, hash=name, typed=name, cells=cells)


def measured(name: str, right: int) -> Measured:
    """40 items of a document each, the first `right` of them answered."""
    rows = [Row(f"i{n}", f"d{n}", "recall", float(n < right)) for n in range(40)]
    items = [Scored(r.item, r.doc, [r], {}) for r in rows]
    return Measured(Cell(name, "recall"), CellRecord(name, "done", {}), items)


def test_only_those_within_five_percent_are_alike() -> None:
    recipes = [result("dense", 20, 90), result("b", 20.9, 90), result("c", 21.1, 10), result("d", 20, 0, "did not act")]
    assert [(a.typed, b.typed) for a, b in pairs_alike(recipes, "perplexity")] == [("dense", "b"), ("b", "c")]


def test_a_pair_told_apart_has_its_paired_difference() -> None:
    """20 of 40 against 36 of 40: 40 points, and the same items were lost."""
    recipes = [result("a", 20, 50.0), result("b", 20.5, 90.0), result("c", 20.2, 85.0)]
    cells = {(n, "recall"): measured(n, k) for n, k in (("a", 20), ("b", 36), ("c", 34))}
    wide, narrow = apart(recipes, [PPL, RECALL], "perplexity", cells, seed=0)
    assert (wide.better, wide.worse, wide.values, wide.perplexity) == ("b", "a", (90.0, 50.0), (20.5, 20))
    assert wide.difference.value == -40
    assert wide.difference.low is not None
    assert wide.difference.high is not None
    assert wide.difference.low < -40 < wide.difference.high < 0
    assert (narrow.better, narrow.worse, narrow.group) == ("c", "a", "retrieval")


PAIR = Apart(
    "dense", "window(window=512)", (18.4, 18.6), "recall", "retrieval", (90.0, 40.0),
    Estimate(-50.0, -60.0, -41.0, "points", 200, 50),
)  # fmt: skip


def suite(found: Comparison, *pairs: Apart) -> Comparison:
    """As if it had been asked for by a suite."""
    tasks = (replace(found.tasks[0], group="perplexity"), replace(found.tasks[1], group="retrieval"))
    return replace(found, tasks=tasks, alike=3, apart=pairs)


def test_groups_stand_apart_in_the_table_and_pairs_under_it() -> None:
    found = comparison(3)
    grouped = suite(found, PAIR)
    headings = [str(c.header) for c in table(grouped).columns]
    assert headings[2:6] == ["│\n│\n│", "PERPLEXITY\nperplexity\n", "│\n│\n│", "RETRIEVAL\nrecall\naccuracy"]
    assert [str(c.header) for c in table(found).columns][2:4] == ["perplexity", "recall\naccuracy"]
    first, second = told_apart(grouped)
    assert "3 pairs of recipes; 10 points or more apart on another task: 1 of them" in first
    assert "dense 90.0% against 40.0% window(window=512), −50 pt [−60, −41]" in second
    assert first in remarks(grouped)
    assert not told_apart(found), "nobody asked"


def test_the_report_has_groups_and_pairs_where_a_suite_was_asked_for() -> None:
    page = render(suite(comparison(3), PAIR))
    for name in ("perplexity", "retrieval"):
        assert f'<th class="begins" scope="colgroup" colspan="1"><bdi>{name}</bdi></th>' in page
    assert (
        "Within 5% of each other in perplexity: 3 pairs of recipes; 10 points or more apart on another task: 1" in page
    )
    for words in ("<b>90.0%</b> <bdi>dense</bdi>", "<b>40.0%</b> <bdi>window(window=512)</bdi>", "−50 pt [−60, −41]"):
        assert words in page, words
    plain = render(comparison(3))
    assert 'id="apart"' not in plain
    assert "colgroup" not in plain, "nobody asked"


def test_the_page_shows_the_widest_pairs_and_folds_the_rest() -> None:
    assert "<details>" not in section(suite(comparison(3), *[PAIR] * MOST))
    page = section(suite(comparison(3), *[PAIR] * (MOST + 2)))
    assert "<details><summary>2 more</summary>" in page
    assert page.count("<b>90.0%</b>") == MOST + 2
    assert "<table>" not in section(suite(comparison(3))), "no pair, no table"


def test_pairs_from_outside_are_text() -> None:
    evil = "<img onerror=alert(1)>"
    found = comparison(3)
    recipes = (found.recipes[0], replace(found.recipes[1], typed=evil), found.recipes[2])
    page = section(suite(replace(found, recipes=recipes), replace(PAIR, worse=evil)))
    assert "&lt;img onerror" in page
    assert evil not in page


def test_groups_are_counted_in_order() -> None:
    made = [replace(PPL, group=group) for group in ("perplexity", "knowledge", "knowledge", "")]
    assert groups(made) == [("perplexity", 1), ("knowledge", 2), ("", 1)]
    assert groups([replace(PPL, group="")] * 2) == []


def test_a_suite_is_compared_from_end_to_end(
    model: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With tasks that a model trained on 128 tokens has room for."""
    tasks = {"perplexity": ["perplexity(length=96, streams=2, audit=0)"], "knowledge": ["closed-book(limit=6)"]}
    monkeypatch.setattr(LlmKick, "groups", lambda self, trained: tasks)
    found = compare(str(model), ["finequant(bits=8)"], ["llm-kick"], text=str(text), output=tmp_path, threads=1)
    assert [t.group for t in found.tasks] == ["perplexity", "knowledge"]
    assert found.alike == 1
    assert found.to_dict()["tasks"][0]["group"] == "perplexity"
