"""What a view says of models whose attention is more than a softmax."""

import pytest
from transformers import Gemma2Config, Gemma2ForCausalLM, GptOssConfig, GptOssForCausalLM, LlamaConfig, LlamaForCausalLM

from paretolm.bridge.lm import LM
from paretolm.contracts import Need
from paretolm.recipes.plan import make_plan
from paretolm.recipes.recipe import Recipe

SMALL = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "layer_types": ["full_attention", "full_attention"],
}


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (Gemma2ForCausalLM(Gemma2Config(**SMALL)), "the model caps its attention scores"),
        (GptOssForCausalLM(GptOssConfig(**SMALL, num_local_experts=2)), "the model has learnt sinks in its attention"),
        (LlamaForCausalLM(LlamaConfig(**{k: v for k, v in SMALL.items() if k != "layer_types"})), None),
    ],
    ids=["gemma2", "gpt_oss", "llama"],
)
def test_caps_and_sinks_are_no_plain_attention(model, why):
    lm = LM.from_model(model, None)
    assert lm.view.breaks.get(Need.PLAIN_ATTENTION) == why
    told = [str(c) for c in make_plan(Recipe.parse("minference"), lm.view).conflicts]
    assert bool(told) == bool(why)
    assert all("minference needs plain attention" in line for line in told)
