"""The pieces of the judge's checks of itself: the sample, the turned choices, what counts as a difference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paretolm.errors import CellError
from paretolm.evaluation import audit
from paretolm.evaluation.rows import Row
from paretolm.evaluation.task import Item
from paretolm.evaluation.tasks import make
from paretolm.recipes.recipe import Recipe
from tests.evaluation import sets
from tests.evaluation.judging import judge, lm, source


def rows(*values: float, item: str = "i") -> list[Row]:
    return [Row(item, "d", "nll", value, 1.0, {"position": n}) for n, value in enumerate(values)]


def test_the_inert_recipe_is_no_dense_recipe_and_changes_no_bit() -> None:
    recipe = Recipe((audit.Inert(),))
    assert not recipe.is_dense
    assert recipe.check(lm().view) == []
    ids = torch.arange(1, 40)[None]
    with Recipe().apply(lm()) as session:
        plain = session.stream().read(ids, last=True).logits
    with recipe.apply(lm()) as session:
        assert torch.equal(session.stream().read(ids, last=True).logits, plain)


def test_a_difference_is_said_in_words() -> None:
    assert audit.difference(rows(1.0, 2.0), rows(1.0, 2.0)) == ""
    assert audit.difference(rows(1.0, 2.5), rows(1.0, 2.0)) == "nll of i is 2.5, not 2.0"
    assert audit.difference(rows(1.0), rows(1.0, 2.0)) == "the rows are not the same: 1 and 2"
    heavier = [replace(r, weight=3.0) for r in rows(1.0)]
    assert audit.difference(heavier, rows(1.0)) == "nll of i weighs 3, not 1"


@given(st.floats(-100, 100), st.floats(-1, 1))
def test_a_tolerance_is_relative_and_none_is_none(value: float, change: float) -> None:
    told = audit.difference(rows(value + change), rows(value), 1e-4)
    assert bool(told) == (abs((value + change) - value) > 1e-4 * (1 + abs(value)))
    assert bool(audit.difference(rows(value + change), rows(value))) == (value + change != value)


def test_few_and_short_items_are_scored_again(tmp_path: Path) -> None:
    task = make("arc-easy", path=str(sets.folder("arc-easy", tmp_path)))
    items = task.items(source(), lm())
    known = {item.id: rows(1.0) for item in items}
    for scores, count in ((1, 1), (19, 1), (40, 2), (10_000, 4)):
        found = audit.sample(task, items, known, scores)
        assert len(found) == count
        assert max(map(task.tokens, found)) <= min(task.tokens(i) for i in items if i not in found)
    assert audit.sample(task, items, {}, 100) == [], "what was not scored cannot be compared"


def test_items_with_equal_choices_say_nothing(tmp_path: Path) -> None:
    one = {"question": "Which?", "choices": ["a lamp", "a lamp"], "answer": 1}
    task = make("arc-easy", path=str(sets.write(tmp_path / "set.jsonl", [one])))
    items = task.items(source(), lm())
    assert audit.sample(task, items, {item.id: rows(1.0) for item in items}, 100) == []


@pytest.mark.parametrize("name", ["arc-easy", "winogrande", "blimp", "mmlu"])
def test_turned_choices_change_no_row_of_the_judge(name: str, tmp_path: Path) -> None:
    task = make(name, path=str(sets.folder(name, tmp_path, 4)))
    items = task.items(source(), lm())
    turned = [audit.turned(task, item) for item in items]
    assert all(a.data["question"].answer != b.data["question"].answer for a, b in zip(items, turned, strict=True))
    straight, _ = judge(task, "dense", items)
    assert {r.key: r.value for r in judge(task, "dense", turned)[0]} == {r.key: r.value for r in straight}
    assert [audit.favour(task, item) for item in items] == [""] * len(items)


def test_a_task_without_choices_is_left_as_it_is() -> None:
    task = make("perplexity", length=48, streams=1, audit=0)
    (item,) = task.items(source(), lm())
    assert audit.turned(task, item) is item
    assert audit.favour(task, item) == ""


def test_streams_that_saw_another_number_of_tokens() -> None:
    item = Item("i", "d", torch.ones(1, 7, dtype=torch.long))
    audit.check_prompt(SimpleNamespace(seen=7), item)
    audit.check_fed(9, item, 9)
    with pytest.raises(CellError, match="the prompt of i has 7 tokens, but the stream has seen 6"):
        audit.check_prompt(SimpleNamespace(seen=6), item)
    with pytest.raises(CellError, match="has seen 8 tokens under this recipe, but 9 under another"):
        audit.check_fed(8, item, 9)
