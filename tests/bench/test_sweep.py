"""A shelf at budgets: which lines it stands for, and that they are recipes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretolm.bench.sweep import Sweep
from paretolm.bench.workers.facts import parse_task
from paretolm.contracts import Budget
from paretolm.errors import RecipeError
from paretolm.recipes.index import methods
from paretolm.recipes.recipe import Recipe


def named(lines: tuple[str, ...]) -> set[str]:
    return {line.partition("(")[0] for line in lines}


def test_every_method_of_the_shelf_stands_at_every_budget() -> None:
    lines = Sweep(("keep",), ("10%", "25%"), 4096).recipes(1024).lines
    assert named(lines) == {m.name for m in methods() if m.shelf == "keep" and all(k.default for k in m.knobs)}
    assert {"snapkv(budget=10%)", "snapkv(budget=25%)", "window(window=410)"} <= set(lines)
    assert "streaming-llm(window=1020)" in lines, "1024 of 4096 tokens, four of them sinks"


def test_a_room_of_a_shelf_and_methods_without_budgets() -> None:
    rooms = Sweep(("attend/masks",), ("50%",), 200).recipes(128).lines
    assert "lm-infinite(n_local=90)" in rooms
    assert named(rooms) < named(Sweep(("attend",), ("50%",), 200).recipes(128).lines)
    assert "giraffe" in Sweep(("frequency",), ("50%",)).recipes(128).lines


@given(st.sampled_from(["keep", "attend", "prompt", "frequency", "store"]), st.sampled_from(["50%", "300tok"]))
def test_all_lines_are_recipes_of_the_budget(shelf: str, budget: str) -> None:
    for line in Sweep((shelf,), (budget,), 1024).recipes(1024).lines:
        (method,) = Recipe.parse(line).methods
        held = getattr(method, "budget", None)
        assert held is None or held == Budget.parse(budget)
        assert not getattr(method, "skip_layers", 0), "layers that stay whole would hold more than the budget"


def test_a_budget_that_a_method_has_no_room_for_is_told_and_left_out() -> None:
    swept = Sweep(("keep",), ("20tok",)).recipes(1024)
    assert "h2o(budget=20tok)" in swept.lines
    assert not [line for line in swept.lines if line.startswith("snapkv")]
    (note,) = [n for n in swept.notes if n.startswith("snapkv")]
    assert note.startswith("snapkv(budget=20tok) is left out: snapkv: window_size=32 leaves nothing")


def test_the_context_is_the_length_of_texts() -> None:
    text, recall = (parse_task(line, 0) for line in Sweep(context=4096).tasks(1024))
    assert text.length == 4096  # type: ignore[attr-defined]
    assert recall.lengths == (4.0,)  # type: ignore[attr-defined]
    assert Sweep().tasks(1024) == []
    assert Sweep(context=1024).doubts(1024) == []
    assert "4096 tokens is beyond the 1024" in Sweep(context=4096).doubts(1024)[0]


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        (Sweep(budgets=("10%",)), "give one"),
        (Sweep(("kepe",)), "no shelf is called 'kepe'; did you mean 'keep'"),
        (Sweep(("keep",), ("ten",)), "a budget is written like 256tok or 25%"),
        (Sweep(("tokens",)), "the shelf tokens is empty"),
    ],
)
def test_what_cannot_be_is_said(sweep: Sweep, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        sweep.recipes(1024)
