"""SparseGPT: against the surgeon column by column with explicit inverses, and against least squares."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paretolm.errors import FitError, RecipeError
from paretolm.methods.weights.sparsegpt import SparseGPT, inverse_factor, solve
from paretolm.recipes.recipe import recipe
from tests.contract.spec import LawSpec

from .calibrated import fitter, opened

LAWS = LawSpec(
    neutral="sparsegpt(sparsity=0)",
    acts="sparsegpt(sparsity=0.5)",
    monotone=("sparsegpt(sparsity=0.2)", "sparsegpt(sparsity=0.5)", "sparsegpt(sparsity=0.8)"),
    refused={"mixtral": "stacked experts", "gpt2": "Conv1D"},
)


def problem(seed: int, rows: int = 3, columns: int = 12, tokens: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """(weight [rows, columns], inputs [tokens, columns] that hang together)."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(columns, columns, generator=generator, dtype=torch.float64)
    inputs = torch.randn(tokens, columns, generator=generator, dtype=torch.float64) @ mixing
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64), inputs


def surgeon(weight: np.ndarray, hessian: np.ndarray, sparsity: float, n: int, m: int, size: int) -> np.ndarray:
    """Column after column, each with an inverse of its own over the columns still to come."""
    w = weight.copy()
    rows, columns = w.shape
    inverse = [np.linalg.inv(hessian[j:, j:]) for j in range(columns)]
    gone = np.zeros_like(w, dtype=bool)

    def losses(of: range) -> np.ndarray:
        return np.stack([w[:, j] ** 2 / inverse[j][0, 0] for j in of], axis=1)

    for j in range(columns):
        if not m and j % size == 0:
            block = range(j, min(j + size, columns))
            flat = losses(block)
            order = np.argsort(flat, axis=None, kind="stable")[: int(sparsity * flat.size)]
            for k in order:
                gone[k // len(block), j + k % len(block)] = True
        if m and j % m == 0:
            for row, found in enumerate(losses(range(j, j + m))):
                gone[row, j + np.argsort(found, kind="stable")[:n]] = True
        for row in range(rows):
            if gone[row, j]:
                w[row, j:] -= w[row, j] / inverse[j][0, 0] * inverse[j][:, 0]
    w[gone] = 0
    return w


@given(
    st.integers(0, 200),
    st.sampled_from([(0.0, 0, 0), (0.25, 0, 0), (0.5, 0, 0), (0.9, 0, 0), (0.5, 2, 4), (0.5, 1, 4)]),
    st.sampled_from([4, 8, 12, 16]),
)
def test_equals_the_surgeon(seed: int, how: tuple[float, int, int], blocksize: int) -> None:
    weight, inputs = problem(seed)
    hessian = inputs.T @ inputs
    got = solve(weight, inverse_factor(hessian, 0.0), *how, blocksize)
    expected = surgeon(weight.numpy(), hessian.numpy(), *how, blocksize)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5, atol=1e-7)


@given(st.integers(0, 200), st.integers(1, 7))
def test_is_least_squares_where_all_that_goes_stands_first(seed: int, first: int) -> None:
    """The columns to the right are then free to take everything over: no better answer exists."""
    weight, inputs = problem(seed, rows=1, columns=8)
    weight[0, :first] = 1e-9  # so that the mask takes these
    weight[0, :first] += inputs.new_tensor(range(first)) * 1e-12
    target = inputs @ weight[0]
    got = solve(weight, inverse_factor(inputs.T @ inputs, 0.0), first / 8 + 1e-9, 0, 0, 8)
    assert not got[0, :first].any()
    best = torch.linalg.lstsq(inputs[:, first:], target[:, None]).solution[:, 0]
    torch.testing.assert_close(got[0, first:], best)


def test_two_columns_by_hand() -> None:
    """Inputs (1, 1) and (0, 1): H = [[1, 1], [1, 2]], H^-1 = [[2, -1], [-1, 1]]. Without column 0 the other takes
    over w_0 / 2: 1 + 0.4 / 2."""
    factor = inverse_factor(torch.tensor([[1.0, 1.0], [1.0, 2.0]]), 0.0)
    got = solve(torch.tensor([[0.4, 1.0]]), factor, 0.5, 0, 0, 2)
    torch.testing.assert_close(got, torch.tensor([[0.0, 1.2]]))


def test_moving_the_rest_makes_up_for_what_goes() -> None:
    """Beside the very same zeros without the update, in each of twenty matrices."""
    for seed in range(20):
        weight, inputs = problem(seed, rows=16, columns=32, tokens=200)
        got = solve(weight, inverse_factor(inputs.T @ inputs, 0.01), 0.5, 0, 0, 8)
        moved = (inputs @ (got - weight).T).square().sum()
        masked = (inputs @ weight.masked_fill(got != 0, 0).T).square().sum()
        assert moved < masked


def test_a_column_that_reads_only_zeros_goes_and_harms_nothing() -> None:
    weight, inputs = problem(0)
    inputs[:, 3] = 0
    factor = inverse_factor(inputs.T @ inputs, 0.01)
    got = solve(weight.index_fill(1, torch.tensor([3]), 0), factor, 0.5, 0, 0, 12)
    assert bool(got.isfinite().all())
    assert not got[:, 3].any()


def test_in_force_the_share_is_zero_and_the_rest_has_moved() -> None:
    lm, texts = fitter()
    method = SparseGPT(prunen=2, prunem=4)
    before = lm.model.model.layers[1].mlp.up_proj.weight.detach().clone()
    with opened(lm, method, method.fit(texts, None)) as session:
        weight = lm.model.model.layers[1].mlp.up_proj.weight
        assert set((weight == 0).reshape(-1, 4).sum(1).tolist()) == {2}
        kept = weight != 0
        assert not torch.allclose(weight[kept], before[kept])
        assert session.notes["sparsegpt"]["sparsity"] == 0.5


def test_too_little_text_for_an_inverse_is_a_sentence() -> None:
    _, texts = fitter(count=1, length=8)
    with pytest.raises(FitError, match=r"do not span its columns.*larger percdamp"):
        SparseGPT(percdamp=0).fit(texts, None)


@pytest.mark.parametrize("line", ["sparsegpt(blocksize=0)", "sparsegpt(prunen=2, prunem=4, blocksize=6)"])
def test_values_out_of_range(line: str) -> None:
    with pytest.raises(RecipeError, match="blocksize"):
        recipe(line)
