"""Magnitude pruning: the smallest go, exactly as many as asked, and no byte is saved."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paretolm.bridge.bytes import module_bytes
from paretolm.contracts import Interval
from paretolm.errors import ConflictError, RecipeError
from paretolm.methods.weights.magnitude import Magnitude, smallest
from paretolm.recipes.recipe import recipe
from tests.contract.spec import LawSpec
from tests.contract.tiny import tiny

LAWS = LawSpec(
    neutral="magnitude(sparsity=0)",
    acts="magnitude(sparsity=0.5)",
    monotone=("magnitude(sparsity=0.2)", "magnitude(sparsity=0.5)", "magnitude(sparsity=0.8)"),
    refused={"mixtral": "stacked experts", "gpt2": "Conv1D"},
)


def test_half_by_hand() -> None:
    weight = torch.tensor([[1.0, -5.0, 0.5], [-2.0, 3.0, 4.0]])
    assert smallest(weight, 0.5).tolist() == [[True, False, True], [True, False, False]]


def test_two_of_four_by_hand() -> None:
    """Each group of four loses its two smallest, whatever stands in the other."""
    weight = torch.tensor([[9.0, -8.0, 7.0, 6.0, 0.1, -0.2, 0.3, 0.4]])
    assert smallest(weight, 0.9, 2, 4).tolist() == [[False, False, True, True, True, True, False, False]]


@given(st.integers(0, 300), st.floats(0, 1))
def test_as_a_plain_sort_would(seed: int, sparsity: float) -> None:
    weight = torch.randn(3, 7, generator=torch.Generator().manual_seed(seed))
    flat = sorted((abs(v), i) for i, v in enumerate(weight.flatten().tolist()))
    gone = {i for _, i in flat[: int(sparsity * 21)]}
    assert smallest(weight, sparsity).flatten().tolist() == [i in gone for i in range(21)]


@given(st.integers(0, 300), st.sampled_from([(1, 4), (2, 4), (4, 8), (0, 4), (8, 8)]))
def test_every_group_loses_as_many(seed: int, pattern: tuple[int, int]) -> None:
    weight = torch.randn(5, 16, generator=torch.Generator().manual_seed(seed))
    gone = smallest(weight, 0, *pattern)
    assert set(gone.reshape(-1, pattern[1]).sum(1).tolist()) == {pattern[0]}


def test_zeros_save_no_bytes_and_the_notes_say_so() -> None:
    lm = tiny("llama")
    held, predicted = module_bytes(lm.model), recipe("magnitude").cost(lm.view, 100).weight_bytes
    with recipe("magnitude").apply(lm) as session:
        assert Interval.exact(module_bytes(lm.model)) == predicted == Interval.exact(held)
        notes, counters = session.notes["magnitude"], session.counters["magnitude"]
        layers = lm.model.model.layers
        zeros = sum(int((p == 0).sum()) for p in layers.parameters() if p.dim() > 1)
    assert notes["bytes"]["before"] == notes["bytes"]["after"]
    assert notes["bytes"]["why"] == "zeros are held like other numbers"
    assert notes["sparsity"] == 0.5
    assert counters["weights_zeroed"] == zeros


def test_embeddings_norms_and_head_stay() -> None:
    lm = tiny("llama")
    before = {name: p.clone() for name, p in lm.model.named_parameters()}
    with recipe("magnitude(sparsity=0.9)").apply(lm):
        now = dict(lm.model.named_parameters())
        same = {name for name in before if torch.equal(before[name], now[name])}
    assert same == {name for name in before if "proj" not in name}


@pytest.mark.parametrize("line", ["magnitude(sparsity=1.1)", "magnitude(sparsity=nan)", "magnitude(prunen=2)"])
def test_values_out_of_range(line: str) -> None:
    with pytest.raises(RecipeError, match="magnitude"):
        recipe(line)


def test_a_pattern_that_does_not_divide_is_refused_by_name() -> None:
    with pytest.raises(ConflictError, match=r"prunem=7 does not divide the 64 inputs of model\.layers\.0"):
        list(Magnitude(prunen=2, prunem=7).plan(tiny("llama").view))
