"""FineQuant: groups by the weights, rounding by hand and against a plain twin, bytes as predicted."""

import copy
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from paretolm.bridge.bytes import module_bytes
from paretolm.bridge.lm import LM
from paretolm.contracts import Interval
from paretolm.errors import ConflictError, RecipeError
from paretolm.methods.weights._packing import QuantLinear
from paretolm.methods.weights._rounding import RATIOS, quantize
from paretolm.methods.weights.finequant import FineQuant, adaptive_group, mean_range
from paretolm.recipes.recipe import recipe
from tests.contract.spec import LawSpec
from tests.contract.tiny import tiny


def plain_group(weight: np.ndarray, alpha: float = 0.04, smallest: int = 16) -> int:
    """The halving rule, matrix by matrix."""

    def width(group: int) -> float:
        return float(np.mean([np.abs(row[i : i + group]).max() for row in weight for i in range(0, len(row), group)]))

    group = weight.shape[1]
    while group % 2 == 0 and group // 2 >= smallest and width(group // 2) <= (1 - alpha) * width(group):
        group //= 2
    return group


def plain_rounded(values: np.ndarray) -> np.ndarray:
    """One 4-bit group: the scale of nine with the least squared error, in 16 bits as it is kept."""
    extreme = -values[np.argmax(np.abs(values))]
    best, least = values, np.inf
    for ratio in RATIOS:
        scale = np.float32(np.float16(extreme / np.float32(8) * np.float32(ratio)))
        rounded = np.clip(np.round(values / scale), -8, 7) * scale
        error = float(np.square(rounded - values, dtype=np.float32).sum())
        if error < least:
            best, least = rounded, error
    return best


def fake_quantized(model: nn.Module) -> None:
    """The twin: plain matrices that hold the rounded values."""
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear) and "layers" in path:
            weight = module.weight.detach().numpy()
            group = plain_group(weight)
            groups = weight.reshape(-1, group)
            rounded = np.stack([plain_rounded(values) for values in groups]).reshape(weight.shape)
            module.weight.data = torch.tensor(rounded)


LAWS = LawSpec(
    neutral=None,
    acts="finequant(bits=4)",
    monotone=("finequant(bits=8)", "finequant(bits=4)", "finequant(bits=4, group_size=-1)"),
    twin=fake_quantized,
    refused={"mixtral": "stacked experts", "gpt2": "Conv1D"},
)


# --- which groups --------------------------------------------------------------------------------


def test_weights_of_one_size_stay_in_columns() -> None:
    """Every half has the range of the whole, so halving gains nothing."""
    signs = torch.randint(0, 2, (8, 64), generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert adaptive_group(signs.float(), alpha=0.04, smallest=4) == 64


def test_an_outlier_is_shut_in_by_halving() -> None:
    """One weight of 100 among ones: ranges 100, 50.5, 25.75, 13.375, ... fall by about half each time."""
    weight = torch.ones(1, 64)
    weight[0, 5] = 100
    assert [mean_range(weight, g) for g in (64, 32, 16, 8)] == [100, 50.5, 25.75, 13.375]
    assert adaptive_group(weight, alpha=0.4, smallest=8) == 8
    assert adaptive_group(weight, alpha=0.5, smallest=8) == 64  # 50.5 is not half of 100


@given(st.integers(0, 200), st.floats(0, 0.3), st.sampled_from([8, 24, 64]))
def test_the_rule_equals_its_plain_twin(seed: int, alpha: float, columns: int) -> None:
    weight = torch.randn(3, columns, generator=torch.Generator().manual_seed(seed))
    assert adaptive_group(weight, alpha, 2) == plain_group(weight.numpy().astype(np.float64), alpha, 2)


# --- rounding ------------------------------------------------------------------------------------


def test_the_papers_scale_by_hand() -> None:
    """max|w| / 8 = 1: codes are the rounded weights, 8 itself is clipped to 7."""
    codes, scales = quantize(torch.tensor([[8.0, -2.4, 3.0, 0.6]]), 4, 4, least_squares=False)
    assert codes.tolist() == [[7, -2, 3, 1]]
    assert scales.tolist() == [[1.0]]


def test_the_sign_of_the_scale_spares_the_largest_weight() -> None:
    codes, scales = quantize(torch.tensor([[8.0, -2.0, 3.0, 1.0]]), 4, 4)
    assert codes.tolist() == [[-8, 2, -3, -1]]
    assert scales.tolist() == [[-1.0]]


@given(st.integers(0, 200), st.sampled_from([4, 8]))
def test_every_weight_that_is_not_clipped_is_within_half_a_step(seed: int, bits: int) -> None:
    """By the paper's scale only the top of a group is clipped, and by a step at most (and 16-bit rounding)."""
    weight = torch.randn(4, 32, generator=torch.Generator().manual_seed(seed))
    codes, scales = quantize(weight, bits, 8, least_squares=False)
    step = scales.float().repeat_interleave(8, 1)
    off = ((codes * step - weight) / step).abs()
    top = 2 ** (bits - 1) - 1
    assert float(off[codes < top].max()) <= 0.5 + 1e-4
    assert float(off.max()) <= 1 + 128 * 2**-11


@given(st.integers(0, 200))
def test_least_squares_is_never_worse(seed: int) -> None:
    weight = torch.randn(4, 32, generator=torch.Generator().manual_seed(seed))

    def error(least_squares: bool) -> float:
        codes, scales = quantize(weight, 4, 16, least_squares)
        return float((codes * scales.float().repeat_interleave(16, 1) - weight).square().sum())

    assert error(True) <= error(False) * 1.001


def test_zeros_stay_zeros() -> None:
    codes, scales = quantize(torch.zeros(2, 16), 4, 8)
    assert not codes.any()
    assert not scales.any()


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.randn(9, 32)
    whole = quantize(weight, 4, 8)
    monkeypatch.setattr("paretolm.methods.weights._rounding.BLOCK", 64)
    assert all(torch.equal(a, b) for a, b in zip(whole, quantize(weight, 4, 8), strict=True))


# --- in a model ----------------------------------------------------------------------------------


def test_every_layer_matrix_is_packed_and_nothing_else() -> None:
    lm = tiny("llama")
    linears = {path for path, m in lm.model.named_modules() if isinstance(m, nn.Linear)}
    with recipe("finequant").apply(lm) as session:
        packed = {path for path, m in lm.model.named_modules() if isinstance(m, QuantLinear)}
        notes = session.notes["finequant"]
    assert packed == linears - {"lm_head"}
    assert set(notes["group_sizes"]) == packed
    assert sum(notes["matrices_by_group"].values()) == len(packed)
    assert session.counters["finequant"]["weights_quantized"] == sum(
        lm.model.get_submodule(path).weight.numel() for path in packed
    )
    json.dumps(notes)


@pytest.mark.parametrize("name", ["llama", "gpt_neox"])
@pytest.mark.parametrize("line", ["finequant(bits=8)", "finequant(group_size=32)", "finequant(group_size=-1)"])
def test_bytes_are_predicted_exactly(line: str, name: str) -> None:
    """gpt_neox has biases, which stay as they are."""
    lm = tiny(name)
    predicted = recipe(line).cost(lm.view, 100).weight_bytes
    with recipe(line).apply(lm):
        assert Interval.exact(module_bytes(lm.model)) == predicted


def test_chosen_groups_lie_in_the_predicted_interval() -> None:
    lm = tiny("llama")
    before, predicted = module_bytes(lm.model), recipe("finequant").cost(lm.view, 100).weight_bytes
    with recipe("finequant").apply(lm) as session:
        held, noted = module_bytes(lm.model), session.notes["finequant"]["bytes"]
    assert held in predicted
    assert predicted.low < predicted.high
    assert before - held == noted["before"] - noted["after"]


def test_the_original_matrices_are_left_untouched() -> None:
    lm = tiny("llama")
    before = copy.deepcopy(lm.model.state_dict())
    with recipe("finequant").apply(lm):
        pass
    assert all(torch.equal(before[name], tensor) for name, tensor in lm.model.state_dict().items())


def test_a_group_that_does_not_divide_is_refused_by_name() -> None:
    with pytest.raises(ConflictError, match=r"group_size=24 does not divide the 64 inputs of model\.layers\.0"):
        list(FineQuant(group_size=24).plan(tiny("llama").view))


def test_a_quantized_model_has_no_place_for_it_twice() -> None:
    lm = tiny("llama")
    with recipe("finequant").apply(lm):
        inner = LM.from_model(lm.model)
        assert "nn.Linear" in str(recipe("finequant").check(inner.view)[0])


@pytest.mark.parametrize("line", ["finequant(bits=3)", "finequant(group_size=0)", "finequant(alpha=nan)"])
def test_values_out_of_range(line: str) -> None:
    with pytest.raises(RecipeError, match="finequant"):
        recipe(line)
