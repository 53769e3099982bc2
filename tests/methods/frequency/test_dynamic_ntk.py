"""Dynamic NTK by hand, against transformers' formula, and through the cache against a model that has the frequencies."""

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from paretolm.bridge.lm import LM
from paretolm.errors import ConflictError, RecipeError
from paretolm.methods.frequency._ntk import stretched
from paretolm.methods.frequency.dynamic_ntk import DynamicNTK, turn
from paretolm.recipes.recipe import recipe
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny

LAWS = LawSpec(
    neutral="dynamic-ntk",
    acts="dynamic-ntk(length=24, every=8)",
    refused={"mistral_sliding": "full attention", "gpt2": "none"},
)


def rope(width, base=10000.0):
    return base ** (-torch.arange(0, width, 2).float() / width)


def test_the_fastest_stays_and_the_slowest_is_divided():
    new, old = stretched(rope(8), 3), rope(8)
    assert new[0] == old[0]
    assert float(new[-1]) == pytest.approx(float(old[-1]) / 3)


def test_equals_transformers_formula():
    parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    config = LlamaConfig(hidden_size=64, num_attention_heads=2, max_position_embeddings=100, rope_parameters=parameters)
    theirs, _ = ROPE_INIT_FUNCTIONS["dynamic"](config, torch.device("cpu"), seq_len=300)
    by = DynamicNTK(factor=2.0, every=100).stretch(torch.tensor([299]), 100)
    assert float(by) == 5  # 2 * 300 / 100 - 1
    torch.testing.assert_close(stretched(rope(32), float(by)), theirs)


def test_lengths_are_rounded_up():
    by = DynamicNTK(every=8).stretch(torch.tensor([7, 15, 16, 23, 24]), 16)
    assert by.tolist() == [1, 1, 1.5, 1.5, 2]


@pytest.mark.parametrize("halves", [True, False])
def test_a_quarter_turn(halves):
    """Two turning channels are a pair and two halves at once; the third does not turn."""
    turned = turn(torch.tensor([1.0, 0.0, 7.0]).view(1, 1, 1, 3), torch.tensor([[torch.pi / 2]]), halves)
    torch.testing.assert_close(turned.flatten(), torch.tensor([0.0, 1.0, 7.0]))


def one_layer(architecture):
    """A tiny model cut to its first layer: there keys come from embeddings, which know no frequencies."""
    model = tiny(architecture).model
    model.config.num_hidden_layers = 1
    base = model.base_model
    base.layers = base.layers[:1]
    return LM.from_model(model, name=architecture)


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox"])
def test_equals_a_model_with_the_frequencies_of_the_length(architecture):
    """Keys that stand in the cache under the model's own frequencies are read under those of the text's length."""
    ids, lm, plain = text(60), one_layer(architecture), one_layer(architecture)
    with torch.inference_mode(), recipe("dynamic-ntk(length=32, every=60)").apply(lm) as session:
        stream = session.stream()
        stream.read(ids[:, :59])
        ours = stream.step(ids[:, 59:]).logits[0, -1]
        assert session.counters["dynamic-ntk"]["queries_stretched"] == 28
    rotary = plain.model.get_submodule(plain.view.rope.path)
    rotary._buffers["inv_freq"] = stretched(rotary.inv_freq, 60 / 32)
    with torch.inference_mode():
        torch.testing.assert_close(ours, plain.model(ids).logits[0, -1], atol=2e-4, rtol=1e-3)


def test_a_model_without_rotary_positions_is_refused():
    with pytest.raises(ConflictError, match="has none"):
        list(DynamicNTK().plan(tiny("gpt2").view))


@pytest.mark.parametrize(
    ("line", "message"), [("dynamic-ntk(factor=0.5)", "at least 1"), ("dynamic-ntk(every=0)", "at least 1")]
)
def test_mistakes_are_named(line, message):
    with pytest.raises(RecipeError, match=message):
        recipe(line)
