"""Giraffe's bases: by hand, against transformers' linear scaling, and against a loop over the paper's formulas."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from paretolm.errors import ConflictError, RecipeError
from paretolm.methods.frequency.giraffe import Giraffe, linear_basis, power_basis, truncated_basis
from paretolm.recipes.recipe import recipe
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny

LAWS = LawSpec(
    neutral="giraffe(basis=linear, scale=1)",
    acts="giraffe(basis=linear, scale=4)",
    refused={"gpt2": "learned positions"},
)


def rope(width, base=10000.0):
    return base ** (-torch.arange(0, width, 2).float() / width)


def test_two_frequencies_by_hand():
    base = torch.tensor([1.0, 0.01])
    assert linear_basis(base, 4).tolist() == pytest.approx([0.25, 0.0025])
    assert power_basis(base, 0.5).tolist() == pytest.approx([1, 0.01 * math.sqrt(0.5)])
    assert truncated_basis(torch.tensor([1, 0.5, 0.3, 0.2, 0.1]), a=0.2, b=0.5, rho=0.05).tolist() == pytest.approx(
        [1, 0.5, 0.05, 0, 0]
    )


def test_llama_keeps_41_frequencies_fixes_14_and_stops_9():
    """10000^(-i/64) >= 2 pi / 2048 up to i = 64 ln(2048 / 2 pi) / ln 10000 = 40.2; an eighth of it up to i = 54.7."""
    base, length = rope(128), 2048
    new = Giraffe(basis="truncated").inv_freq(base, length)
    rho = 2 * math.pi / length / 16
    assert torch.equal(new[:41], base[:41])
    assert new[41:55].tolist() == pytest.approx([rho] * 14)
    assert new[55:].tolist() == [0] * 9


@pytest.mark.parametrize("scale", [2.0, 4.0, 16.0])
def test_linear_is_the_linear_scaling_of_transformers(scale):
    parameters = {"rope_type": "linear", "factor": scale, "rope_theta": 10000.0}
    config = LlamaConfig(hidden_size=64, num_attention_heads=2, rope_parameters=parameters)
    theirs, factor = ROPE_INIT_FUNCTIONS["linear"](config, torch.device("cpu"))
    torch.testing.assert_close(Giraffe(scale=scale).inv_freq(rope(32), 2048), theirs)
    assert factor == 1


@given(
    basis=st.sampled_from(["linear", "power", "truncated"]), half=st.integers(1, 40), scale=st.floats(1, 32),
    k=st.floats(0, 4), b=st.floats(1e-3, 2), a_of_b=st.floats(0, 1), rho=st.floats(0, 0.1),
)  # fmt: skip
def test_equals_the_formulas_one_frequency_at_a_time(basis, half, scale, k, b, a_of_b, rho):
    cut = {"a": a_of_b * b, "b": b, "rho": rho} if basis == "truncated" else {}
    base = rope(2 * half).double()
    expected = []
    for i in range(half):
        theta = base[i].item() / scale
        if basis == "power":
            theta *= (1 - 2 * i / (2 * half)) ** k
        elif basis == "truncated":
            theta = theta if theta >= b else rho if theta > cut["a"] else 0.0
        expected.append(theta)
    new = Giraffe(basis=basis, scale=scale, k=k, **cut).inv_freq(base, 128)
    torch.testing.assert_close(new, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("line", ["giraffe(scale=1)", "giraffe(basis=power, k=0)", "giraffe(basis=truncated, b=0)"])
def test_neutral_settings_change_no_frequency(line):
    base = rope(64)
    (method,) = recipe(line).methods
    assert torch.equal(method.inv_freq(base, 128), base)


def test_frequencies_are_in_force_counted_and_put_back():
    lm, ids = tiny(), text(40)
    rotary = lm.model.model.rotary_emb
    before, base = rotary.inv_freq, rotary.inv_freq.clone()
    with torch.inference_mode(), recipe("giraffe(basis=truncated)").apply(lm) as session:
        changed = lm.model(ids).logits
        expected = Giraffe(basis="truncated").inv_freq(base, 128)
        assert torch.equal(rotary.inv_freq, expected)
        assert session.counters["giraffe"]["frequencies_changed"] == int((expected != base).sum()) > 0
        assert rotary.attention_scaling == 1
    assert rotary.inv_freq is before
    with torch.inference_mode():
        assert (lm.model(ids).logits - changed).abs().max() > 1e-3


def test_a_model_without_rotary_positions_is_refused():
    with pytest.raises(ConflictError, match="learned positions have no frequencies"):
        list(Giraffe().plan(tiny("gpt2").view))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("giraffe(scale=0.5)", "at least 1"),
        ("giraffe(basis=ntk)", "linear, power, truncated"),
        ("giraffe(rho=0.1)", "belong to basis=truncated"),
        ("giraffe(basis=truncated, a=0.2, b=0.1)", "must not lie above"),
        ("giraffe(scale=nan)", "finite"),
    ],
)
def test_mistakes_are_named(line, message):
    with pytest.raises(RecipeError, match=message):
        recipe(line)
