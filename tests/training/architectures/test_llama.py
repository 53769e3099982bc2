"""Llama as transformers makes it of our config."""

from __future__ import annotations

import pytest
import torch

from paretolm.bridge.fresh import new_model
from paretolm.training.architectures.llama import Llama

KNOBS = Llama(
    hidden_size=24, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=10,
    intermediate_size=28, rope_theta=500, tie_word_embeddings=True, initializer_range=0.05,
)  # fmt: skip


def test_the_model_has_the_shape_asked_for() -> None:
    config = KNOBS.config(70, 48, {"bos": 0, "eos": 1, "pad": 2})
    model = new_model(KNOBS.model_type(), config, seed=0)
    layer = 24 * 40 * 2 + 24 * 20 * 2 + 3 * 24 * 28 + 2 * 24  # queries and output, keys and values, gated, norms
    assert model.num_parameters() == 70 * 24 + 3 * layer + 24
    assert (model.config.max_position_embeddings, model.config.rope_parameters["rope_theta"]) == (48, 500)
    assert (model.config.bos_token_id, model.config.eos_token_id, model.config.pad_token_id) == (0, 1, 2)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert torch.stack([p.std() for p in model.parameters() if p.ndim == 2]).mean().item() == pytest.approx(
        0.05, rel=0.1
    )
    assert model(torch.tensor([[0, 5, 6]])).logits.shape == (1, 3, 70)
    untied = new_model("llama", {**config, "tie_word_embeddings": False}, seed=0)
    assert untied.num_parameters() == model.num_parameters() + 70 * 24
