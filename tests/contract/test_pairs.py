"""Which methods stand together: every pair is planned; one pair of each kind of signature is run."""

from __future__ import annotations

from itertools import combinations

import pytest

from paretolm.recipes.index import load_method
from paretolm.recipes.recipe import Recipe, recipe

from . import laws
from .discovery import NAMES, SPECS
from .tiny import tiny

VIEW = tiny().view


def signature(name: str) -> tuple[frozenset[object], ...]:
    """Slots, needs and breaks: methods alike in these meet other methods alike."""
    edits = [edit for _, edit in recipe(SPECS[name].acts).plan(VIEW).pairs]
    union = lambda key: frozenset(x for edit in edits for x in key(edit))  # noqa: E731
    return frozenset(e.slot for e in edits), union(lambda e: e.needs), union(lambda e: e.breaks)


def representatives() -> list[str]:
    """The first method of each signature."""
    first: dict[object, str] = {}
    for name in NAMES:
        first.setdefault(signature(name), name)
    return sorted(first.values())


def together(kind: str, a: str, b: str) -> Recipe | None:
    lines = [getattr(SPECS[name], kind) for name in (a, b)]
    return recipe(" + ".join(lines)) if all(lines) else None


PAIRS = list(combinations(NAMES, 2))
ACCEPTED = [
    pair
    for pair in combinations(representatives(), 2)
    if not recipe(f"{SPECS[pair[0]].acts} + {SPECS[pair[1]].acts}").check(VIEW)
]


def test_every_pair_is_accepted_or_refused_with_owners_and_a_cure() -> None:
    for a, b in PAIRS:
        for conflict in recipe(f"{SPECS[a].acts} + {SPECS[b].acts}").check(VIEW):
            assert set(conflict.owners) <= {a, b}
            assert conflict.cure


def test_order_of_writing_does_not_decide_whether_a_pair_stands() -> None:
    for a, b in PAIRS:
        forth, back = (recipe(f"{SPECS[x].acts} + {SPECS[y].acts}").check(VIEW) for x, y in ((a, b), (b, a)))
        assert bool(forth) == bool(back), (a, b)


@pytest.mark.parametrize(("a", "b"), ACCEPTED)
def test_an_accepted_pair_is_neutral_where_both_are(a: str, b: str) -> None:
    both = together("neutral", a, b)
    if both is not None:
        assert laws.neutral(both) is None


@pytest.mark.parametrize(("a", "b"), ACCEPTED)
def test_an_accepted_pair_is_undone(a: str, b: str) -> None:
    both = together("acts", a, b)
    assert both is not None
    assert laws.undo_after_use(both) is None


@pytest.mark.parametrize(("a", "b"), ACCEPTED)
def test_an_exact_method_stays_exact_in_a_pair(a: str, b: str) -> None:
    for name, other in ((a, b), (b, a)):
        if load_method(name).exact:
            both = together("acts", name, other)
            assert both is not None
            assert laws.exact_greedy(both, SPECS[other].acts) is None
