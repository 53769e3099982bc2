"""Models made and written for the trainer load like any."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from paretolm.bridge.fresh import new_model, read_weights, write_model
from paretolm.bridge.loading import load_lm
from paretolm.errors import ModelError

CONFIG = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


def test_a_seed_gives_the_same_weights_and_moves_no_generator() -> None:
    before = torch.get_rng_state()
    one, two, other = (new_model("llama", CONFIG, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(one["lm_head.weight"], other["lm_head.weight"])
    assert {t.dtype for t in one.values()} == {torch.float32}


@pytest.mark.parametrize(("kind", "config"), [("lama", {}), ("llama", {"hidden_act": "no such"})])
def test_a_config_that_cannot_be_is_one_sentence(kind: str, config: dict[str, str]) -> None:
    with pytest.raises(ModelError, match=f"no model of type '{kind}' can be made of this config") as raised:
        new_model(kind, {**CONFIG, **config}, 0)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("stored", [None, torch.bfloat16])
def test_what_is_written_loads_like_any_model(tmp_path: Path, tied: bool, stored: torch.dtype | None) -> None:
    model = new_model("llama", {**CONFIG, "tie_word_embeddings": tied}, 0)
    write_model(model, tmp_path, stored)
    kept, loaded = load_file(tmp_path / "model.safetensors"), load_lm(str(tmp_path)).model.state_dict()
    assert {t.dtype for t in kept.values()} == {stored or torch.float32}
    assert ("lm_head.weight" in kept) == (not tied)
    for name, tensor in model.state_dict().items():
        assert loaded[name].dtype == torch.float32
        assert torch.equal(loaded[name], tensor.to(stored or torch.float32).float())
    modes = {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert len(modes) == 1, "weights are as readable as their config"


@pytest.mark.parametrize("tied", [True, False])
def test_weights_are_read_into_a_model(tmp_path: Path, tied: bool) -> None:
    config = {**CONFIG, "tie_word_embeddings": tied}
    first, second = (new_model("llama", config, seed) for seed in (0, 1))
    write_model(first, tmp_path)
    read_weights(second, tmp_path)
    assert all(torch.equal(first.state_dict()[k], t) for k, t in second.state_dict().items())
    assert (second.lm_head.weight is second.model.embed_tokens.weight) == tied
    with pytest.raises(ModelError, match="does not hold the weights of this architecture"):
        read_weights(new_model("llama", {**config, "num_hidden_layers": 2}, 0), tmp_path)
