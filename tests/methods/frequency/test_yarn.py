"""YaRN's frequencies by hand and against transformers' own."""

import math

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from paretolm.errors import ConflictError, RecipeError
from paretolm.methods.frequency._ntk import correction, ramp
from paretolm.methods.frequency.yarn import Yarn, by_parts
from paretolm.recipes.recipe import recipe
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny

LAWS = LawSpec(neutral="yarn(factor=1)", acts="yarn(factor=4)", refused={"gpt2": "rotary"})


def rope(width, base=10000.0):
    return base ** (-torch.arange(0, width, 2).float() / width)


def test_a_ramp_by_hand():
    assert ramp(1, 3, 5).tolist() == [0, 0, 0.5, 1, 1]
    new = by_parts(torch.tensor([1.0, 0.4, 0.1]), 4, 0, 2)
    assert new.tolist() == pytest.approx([1, 0.5 * 0.4 + 0.5 * 0.1, 0.025])


def test_the_frequency_that_turns_once_in_the_trained_length():
    """base^(-2i/d) * length = 2 pi at i = d ln(length / 2 pi) / (2 ln base)."""
    i = correction(1, 128, 10000, 2048)
    assert 10000 ** (-2 * i / 128) * 2048 == pytest.approx(2 * math.pi)


@pytest.mark.parametrize("factor", [2.0, 8.0])
@pytest.mark.parametrize("length", [2048, 4096])
def test_equals_transformers(factor, length):
    parameters = {
        "rope_type": "yarn", "factor": factor, "rope_theta": 10000.0, "original_max_position_embeddings": length,
    }  # fmt: skip
    size = int(length * factor)
    config = LlamaConfig(
        hidden_size=256, num_attention_heads=2, max_position_embeddings=size, rope_parameters=parameters
    )
    theirs, sharper = ROPE_INIT_FUNCTIONS["yarn"](config, torch.device("cpu"))
    ours = Yarn(factor=factor)
    torch.testing.assert_close(ours.inv_freq(rope(128), 10000.0, length), theirs)
    assert ours.sharper == pytest.approx(sharper)


def test_in_force_counted_and_put_back():
    lm, ids = tiny(), text(40)
    rotary = lm.model.model.rotary_emb
    before = rotary.inv_freq
    with torch.inference_mode(), recipe("yarn(factor=4)").apply(lm) as session:
        lm.model(ids)
        assert rotary.attention_scaling == pytest.approx(0.1 * math.log(4) + 1)
        assert session.counters["yarn"]["frequencies_changed"] > 0
    assert rotary.inv_freq is before
    assert rotary.attention_scaling == 1


def test_a_model_without_rotary_positions_is_refused():
    with pytest.raises(ConflictError, match="has none"):
        list(Yarn().plan(tiny("gpt2").view))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("yarn(factor=0.5)", "at least 1"),
        ("yarn(beta_slow=40)", "must be below"),
        ("yarn(beta_slow=0)", "above 0"),
    ],
)
def test_mistakes_are_named(line, message):
    with pytest.raises(RecipeError, match=message):
        recipe(line)
