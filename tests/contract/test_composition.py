"""The table of which pairs compose says what the planner says, in the code and on the page."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

import paretolm
from docs.composition import COMPOSES, SELF, composition_page, kind_of, planned
from paretolm.contracts import ModelView
from paretolm.recipes.conflicts import Conflict
from paretolm.recipes.recipe import recipe

PAGE = Path(__file__).parents[2] / "docs" / "composition.md"


@cache
def refused(a: str, b: str) -> frozenset[str]:
    """Kinds of reasons, planned with the later method written first."""
    return frozenset(map(kind_of, recipe(f"{b} + {a}").check(_view())))


@cache
def _view() -> ModelView:
    return paretolm.load("reference").view


def marks(page: str) -> dict[tuple[str, str], str]:
    """The grid of a page: two methods and their mark."""
    rows = re.findall(r"^ *\d+ (\S+) +([a-zA-Z. -]+)$", page.partition("```text")[2], flags=re.MULTILINE)
    names = [name for name, _ in rows]
    return {(a, b): mark for a, line in rows for b, mark in zip(names, line.replace(" ", ""), strict=True)}


def reasons(page: str) -> dict[str, tuple[str, int]]:
    """Mark -> kind of reason and number of pairs."""
    found = re.findall(r"^\| `(\w)` \| ([^|]+) \| (\d+) \|", page, flags=re.MULTILINE)
    return {mark: (kind, int(number)) for mark, kind, number in found}


def written() -> str:
    return "\n".join(composition_page())


@pytest.mark.parametrize("text", [written, lambda: PAGE.read_text(encoding="utf-8")], ids=["now", "on the page"])
def test_every_mark_is_what_the_planner_says(text):
    found, kinds, known = marks(text()), reasons(text()), set(planned().names)
    assert len(found) > 1000
    for (a, b), mark in found.items():
        if not {a, b} <= known or a >= b:
            continue
        assert found[b, a] == mark
        assert (mark == COMPOSES) == (not refused(a, b)), (a, b)
        assert mark == COMPOSES or kinds[mark][0] in refused(a, b), (a, b)


def test_all_pairs_are_there_and_counted():
    found, kinds = marks(written()), reasons(written())
    names = planned().names
    assert set(found) == {(a, b) for a in names for b in names}
    assert all((mark == SELF) == (a == b) for (a, b), mark in found.items())
    composing = sum(mark == COMPOSES for mark in found.values()) // 2
    assert f"{composing:,} compose" in written()
    for kind, number in kinds.values():
        assert number == sum(kind in refused(a, b) for a, b in planned().conflicts)


def test_a_kind_of_reason_has_neither_names_nor_places():
    said = "one-kv and window both decide which entries stay (keep) on layers 0-7"
    assert kind_of(Conflict(said, ("one-kv", "window"), "")) == "A and B both decide which entries stay (keep)"
    assert (
        kind_of(Conflict("saq needs tree, which saq-2 gives up", ("saq", "saq-2"), ""))
        == "A needs tree, which B gives up"
    )
