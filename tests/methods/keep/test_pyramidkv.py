"""PyramidKV: budgets along a line; what each layer selects is SnapKV's."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paretolm
from paretolm.contracts import Budget
from paretolm.errors import RecipeError
from paretolm.methods.keep.pyramidkv import PyramidKV, pyramid
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny

LAWS = LawSpec(neutral="pyramidkv(budget=100%)", acts="pyramidkv(budget=25%, window_size=8)")


def test_by_hand():
    """110 entries, 10 of them the window: 100 to select on average, 10 in the highest of 5 layers, 190 in the lowest."""
    assert pyramid(110, 10, 1000, 5, beta=10) == [200, 155, 110, 65, 20]


def test_the_lowest_layer_keeps_no_more_than_there_is():
    """Of 150 tokens 140 stand before the window, so the line falls from 140 to 60 instead of from 190 to 10."""
    assert pyramid(110, 10, 150, 5, beta=10) == [150, 130, 110, 90, 70]


@pytest.mark.parametrize("length", [5, 110])
def test_a_prompt_within_the_budget_stays_whole(length):
    assert pyramid(110, 10, length, 3, beta=20) == [length] * 3


@settings(deadline=None)
@given(st.integers(2, 200), st.integers(1, 64), st.integers(1, 400), st.integers(1, 12), st.floats(1, 40))
def test_budgets_fall_and_add_up(capacity, window, length, layers, beta):
    sizes = pyramid(capacity, window, length, layers, beta)
    assert sum(sizes) == layers * min(capacity, length)
    assert all(0 < size <= length for size in sizes)
    assert all(low >= high - 1 for low, high in pairwise(sizes))  # rounding may swap neighbours


def test_beta_of_one_is_snapkv():
    lm, ids = tiny(), text(64)
    found = []
    for line in ("pyramidkv(budget=25%, window_size=8, beta=1)", "snapkv(budget=25%, window_size=8)"):
        with paretolm.recipe(line).apply(lm) as session, torch.inference_mode():
            stream = session.stream()
            stream.read(ids[:, :48], last=True)
            found.append((stream.held, [x.positions.tolist() for x in stream.cache.held_layers.values()]))
    assert found[0] == found[1]


def test_lower_layers_hold_more_and_bytes_are_as_predicted():
    lm, recipe = tiny(), paretolm.recipe("pyramidkv(budget=16tok, window_size=4)")
    with recipe.apply(lm) as session, torch.inference_mode():
        stream = session.stream()
        stream.read(text(64), last=True)
        assert stream.held == [27, 5]  # 4 + 23.4 and 4 + 0.6, rounded at equal total
        assert stream.kv_bytes in recipe.cost(lm.view, 64).kv_bytes
        assert session.counters["pyramidkv"]["tokens_evicted"] == 37 + 59


def test_errors_name_the_method():
    with pytest.raises(RecipeError, match="pyramidkv: window_size=32 leaves nothing"):
        PyramidKV(budget=Budget(32, "tok"))
