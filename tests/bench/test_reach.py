"""Items too short for a recipe: said of the task, and of no recipe that was to act."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paretolm.bench.cluster import staff
from paretolm.bench.compare import compare
from paretolm.bench.plan import Cell
from paretolm.bench.records.store import CellRecord, Scored
from paretolm.bench.report.render import render
from paretolm.bench.report.table import remarks, status, table
from paretolm.bench.results.gather import Measured
from paretolm.bench.results.reach import excused
from paretolm.bench.results.types import CellResult
from paretolm.evaluation.rows import Row
from tests.bench.made import InlineCrew

IDLE = CellResult("t", "did not act", "kv-quant changed nothing: every counter stayed at zero")
FACTS = {"dense": {"methods": {}, "acts_from": {}}, "r": {"methods": {"kv-quant": []}, "acts_from": {"kv-quant": 160}}}
SAID = (
    "did not act here: prompts shorter than 160 tokens, answers included (159 at most), where kv-quant changes nothing"
)


def cell(name: str, counters: dict[str, Any], nll: float = 1.0) -> Measured:
    items = [Scored("i", "d", [Row("i", "d", "nll", nll)], {"counters": counters})]
    return Measured(Cell(name, "t"), CellRecord(name, "done", {}), items)


def judged(tokens: int, other: Measured, facts: dict[str, Any] | None = None) -> CellResult:
    cells = {"dense": cell("dense", {}), "r": other}
    results = {"dense": CellResult("t", "done"), "r": IDLE}
    return excused(cells, results, {**FACTS, "r": facts or FACTS["r"]}, {"tokens": tokens})["r"]


def test_a_prompt_one_token_short_of_the_first_group_is_said() -> None:
    quiet = cell("r", {"kv-quant": {"tokens_quantized": 0}})
    assert judged(159, quiet) == replace(IDLE, reason=SAID, short=True)
    assert judged(160, quiet) == IDLE, "here it was to act"


def test_nothing_else_is_excused() -> None:
    quiet = {"kv-quant": {"tokens_quantized": 0}}
    assert judged(9, cell("r", {})) == IDLE, "it was not even opened"
    assert judged(9, cell("r", quiet, nll=1.1)) == IDLE, "rows are not the untouched model's"
    assert judged(9, cell("r", {"kv-quant": {"tokens_quantized": 1}})) == IDLE, "it says that it acted"
    more = {"methods": {"kv-quant": [], "knn-lm": []}, "acts_from": {"kv-quant": 160}}
    assert judged(9, cell("r", {**quiet, "knn-lm": {}}), more) == IDLE, "the other one acts at any length"


def test_the_other_tasks_rank_it(model: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window of 64 tokens on a stream of 96 and on questions of a few."""
    monkeypatch.setattr(staff, "Crew", InlineCrew)
    question = {"subject": "places", "question": "Where?", "choices": ["here", "there"], "answer": 0}
    (tmp_path / "set.jsonl").write_text("\n".join([json.dumps(question)] * 6))
    monkeypatch.chdir(tmp_path)
    tasks = ["perplexity(length=96, streams=2, audit=0)", "closed-book(path=set.jsonl)"]
    found = compare(str(model), ["window(window=64)"], tasks, text=str(text), output=tmp_path / "out", threads=1)
    recipe = found.recipes[1]
    assert [(c.state, c.short) for c in recipe.cells] == [("done", False), ("did not act", True)]
    assert recipe.ranked
    word, why = status(recipe)
    assert word in ("measured", "on the frontier")
    assert why.startswith("closed-book: did not act here: prompts shorter than 64 tokens")
    assert f"window(window=64): {why}" in remarks(found)
    columns = {str(c.header): list(c.cells) for c in table(found).columns}
    assert [str(c) for c in columns["closed-book\nacc"]][1:] == ["did not act"], "never the untouched model's number"
    assert f'<abbr title="{why.removeprefix("closed-book: ")}">did not act</abbr>' in render(found)
    alone = replace(recipe, cells=recipe.cells[1:])
    assert (alone.ranked, status(alone)[0]) == (False, "did not act")
