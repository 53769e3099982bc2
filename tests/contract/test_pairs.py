"""Which methods stand together: every pair is planned; one pair of each kind of signature is run."""

from __future__ import annotations

from itertools import combinations

import pytest

from paretolm.recipes.index import load_method
from paretolm.recipes.recipe import recipe

from . import laws
from .discovery import NAMES, SPECS
from .pairs import PAIRS, VIEW, Ran, accepted, together


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


ACCEPTED = accepted(combinations(representatives(), 2))


def test_every_pair_is_accepted_or_refused_with_owners_and_a_cure() -> None:
    for a, b in PAIRS:
        for conflict in recipe(f"{SPECS[a].acts} + {SPECS[b].acts}").check(VIEW):
            assert set(conflict.owners) <= {a, b}
            assert conflict.cure


def test_order_of_writing_does_not_decide_whether_a_pair_stands() -> None:
    for a, b in PAIRS:
        forth, back = (recipe(f"{SPECS[x].acts} + {SPECS[y].acts}").check(VIEW) for x, y in ((a, b), (b, a)))
        assert bool(forth) == bool(back), (a, b)


def test_every_signature_is_in_a_pair_that_is_run_against_laws_1_and_3() -> None:
    run = {name for pair in ACCEPTED for name in pair}
    neutral = {name for pair in ACCEPTED if together("neutral", *pair) for name in pair}
    assert run == set(representatives())
    assert neutral == {name for name in run if SPECS[name].neutral}


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


def test_a_run_of_pairs_keeps_what_broke_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> str:
        raise ValueError("no")

    monkeypatch.setattr(laws, "neutral", lambda *_: "apart")
    monkeypatch.setattr(laws, "undo", failing)
    ran = Ran()
    ran.try_pair("snapkv", "kv-quant")
    assert ran.broken == {"snapkv + kv-quant": {"3 undo": "ValueError: no", "1 neutral": "apart"}}
    assert (ran.pairs, ran.neutral) == (["snapkv + kv-quant"], 1)


def test_a_run_of_a_pair_that_holds_is_clean() -> None:
    ran = Ran()
    ran.try_pair("snapkv", "finequant")
    assert ran.broken == {}
    assert (ran.pairs, ran.neutral) == (["snapkv + finequant"], bool(SPECS["finequant"].neutral))
