"""Model directories of any origin: opened right, or refused by a sentence. More in tests/bridge/test_loading.py."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from paretolm.bench.desk import check_files
from paretolm.bridge.loading import load_lm
from paretolm.errors import ModelError
from paretolm.recipes.recipe import Recipe
from tests.evaluation import judging

UP = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    facts = json.loads(path.read_text())
    change(facts)
    path.write_text(json.dumps(facts))


def tensors(model: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    found = load_file(model / "model.safetensors")
    change(found)
    save_file(found, model / "model.safetensors", {"format": "pt"})


def generated(model: Path, prompt: Any = "river stone", **more: Any) -> list[int]:
    with Recipe.parse("window(window=16)").apply(load_lm(str(model))) as session:
        return session.generate(prompt, **{"max_new_tokens": 5, **more}).ids.tolist()


# --- what must work ---


def test_tensors_of_several_dtypes_become_one(model: Path) -> None:
    kinds = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
    whole = load_file(model / "model.safetensors")
    tensors(model, lambda found: found.update({n: t.to(kinds[i % 4]) for i, (n, t) in enumerate(found.items())}))
    opened = load_lm(str(model)).model
    assert {p.dtype for p in opened.parameters()} == {torch.float32}
    assert all(torch.allclose(p, whole[n], atol=1e-2) for n, p in opened.named_parameters())


def test_a_head_of_its_own_stays_whatever_the_config_says(model: Path) -> None:
    edit(model / "config.json", lambda config: config.update(tie_word_embeddings=True))
    head = load_file(model / "model.safetensors")["lm_head.weight"]
    assert torch.equal(load_lm(str(model)).model.lm_head.weight, head)


def test_a_tied_head_is_the_embedding(model: Path) -> None:
    edit(model / "config.json", lambda config: config.update(tie_word_embeddings=True))
    tensors(model, lambda found: found.pop("lm_head.weight"))
    opened = load_lm(str(model)).model
    assert opened.lm_head.weight is opened.model.embed_tokens.weight


def test_more_embedding_rows_than_tokens(model: Path) -> None:
    assert len(judging.tokenizer()) < judging.lm().model.get_input_embeddings().num_embeddings
    assert len(generated(model)) == 5


def test_no_token_that_pads_begins_or_ends(model: Path) -> None:
    names = ("pad_token", "bos_token", "eos_token")
    for file in ("config.json", "generation_config.json"):
        edit(model / file, lambda facts: facts.update({f"{n}_id": None for n in names}))
    edit(model / "tokenizer_config.json", lambda facts: [facts.pop(n, None) for n in names])
    assert load_lm(str(model)).tokenizer.eos_token is None
    assert len(generated(model, max_new_tokens=40)) == 40


# --- what must be refused ---


def ints(found: dict[str, torch.Tensor]) -> None:
    found[UP] = (found[UP] * 100).to(torch.int8)


def deeper(found: dict[str, torch.Tensor]) -> None:
    found["model.layers.2.mlp.up_proj.weight"] = found[UP].clone()


def adapter(found: dict[str, torch.Tensor]) -> None:
    found["model.layers.0.mlp.up_proj.lora_A.weight"] = torch.zeros(2, 32)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (ints, rf"holds {UP} as whole numbers \(I8\).*no quantization_config"),
        (deeper, r"holds model\.layers\.2\..*config\.json has 2 layers, so it would be left out"),
        (adapter, r"an adapter among its weights .*lora_A.*merge_and_unload"),
    ],
)
def test_tensors_that_would_be_left_out_or_misread(model: Path, change: Any, said: str) -> None:
    tensors(model, change)
    with pytest.raises(ModelError, match=said):
        load_lm(str(model))


@pytest.mark.parametrize("size", [390, 410])
def test_a_vocabulary_of_another_size_than_the_embedding(model: Path, size: int) -> None:
    edit(model / "config.json", lambda config: config.update(vocab_size=size))
    with pytest.raises(ModelError, match=rf"shape \[400, 32\] in its file, and config\.json makes it \[{size}, 32\]"):
        load_lm(str(model))


def test_a_token_that_the_model_does_not_embed(saved: Path) -> None:
    with pytest.raises(Exception, match="holds the token id 400, and the model embeds ids from 0 to 399"):
        generated(saved, [5, 400])


@pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation", "_attn_implementation_internal"])
def test_a_kernel_of_a_hub_is_not_fetched(model: Path, key: str) -> None:
    """The tests' own guard of the network would raise another error."""
    edit(model / "config.json", lambda config: config.update({key: "kernels-community/flash-attn2"}))
    with pytest.raises(ModelError, match=f"{key} asks for 'kernels-community/flash-attn2'"):
        load_lm(str(model))


@pytest.mark.parametrize("name", ["flash_attention_2", "flash_attention_3"])
def test_an_attention_that_is_not_installed(saved: Path, name: str) -> None:
    with pytest.raises(ModelError, match=r"cannot be loaded: FlashAttention\d .*installed"):
        load_lm(str(saved), attn_implementation=name)


def header(length: int) -> Callable[[bytes], bytes]:
    return lambda raw: struct.pack("<Q", length) + raw[8:]


def moved(offset: int) -> Callable[[bytes], bytes]:
    """The second tensor begins elsewhere."""

    def change(raw: bytes) -> bytes:
        size = struct.unpack("<Q", raw[:8])[0]
        facts = json.loads(raw[8 : 8 + size])
        second = sorted((f["data_offsets"], n) for n, f in facts.items() if n != "__metadata__")[1][1]
        facts[second]["data_offsets"] = [at + offset for at in facts[second]["data_offsets"]]
        new = json.dumps(facts).encode()
        return struct.pack("<Q", len(new)) + new + raw[8 + size :]

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw[:-100], "but only"),
        (lambda raw: raw[:5], "fewer than the 8"),
        (header(1 << 50), "above the 100000000 the format allows"),
        (header(99_000_000), "header claims 99000000 bytes, but only"),
        (moved(-4), "overlaps the one before it"),
        (moved(1 << 40), "leaves a hole before it|but only"),
    ],
)
def test_damaged_weights_are_named_before_anything_is_loaded(model: Path, change: Any, said: str) -> None:
    path = model / "model.safetensors"
    path.write_bytes(change(path.read_bytes()))
    for check in (lambda: check_files(model), lambda: load_lm(str(model))):
        with pytest.raises(ModelError, match=said) as caught:
            check()
        assert str(path) in str(caught.value)


def test_an_index_that_leads_out_of_its_directory(model: Path, tmp_path: Path) -> None:
    os.rename(model / "model.safetensors", tmp_path / "elsewhere.safetensors")
    index = {"metadata": {}, "weight_map": {UP: "../elsewhere.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"names '\.\./elsewhere\.safetensors'.*not followed"):
        load_lm(str(model))
