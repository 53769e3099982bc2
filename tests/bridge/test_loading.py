"""Loading: what is given comes back, and everything else is one sentence."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging as hf_logging

from paretolm import reference
from paretolm.bridge import locate as locating
from paretolm.bridge.loading import as_dtype, load_lm
from paretolm.bridge.locate import locate
from paretolm.errors import ModelError

VOCAB = 32


def tokenizer(size: int = VOCAB) -> PreTrainedTokenizerFast:
    words = {f"w{i}": i for i in range(size)}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(words, unk_token="w0")), unk_token="w0")


def tiny_llama(tie: bool = False) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=tie,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("saved")
    tiny_llama().save_pretrained(directory)
    tokenizer().save_pretrained(directory)
    return directory


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def edit_config(directory: Path, **changes: Any) -> None:
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, **changes}))


def edit_weights(directory: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})


# --- what works ----------------------------------------------------------------------------------


def test_a_directory_comes_back_as_saved(saved: Path) -> None:
    lm = load_lm(str(saved))
    expected = tiny_llama().state_dict()
    assert all(torch.equal(expected[name], tensor) for name, tensor in lm.model.state_dict().items())
    assert len(lm.tokenizer) == VOCAB
    assert (lm.name, lm.path, lm.recipe_in_force, lm.recipe_left) == (str(saved), str(saved), "", "")
    assert not lm.model.training
    assert lm.view.num_layers == 2


def test_the_embedded_model_and_its_text() -> None:
    lm = load_lm("reference")
    assert lm.text == reference.text_path()
    ids = lm.tokenizer("The capital of France", return_tensors="pt").input_ids
    assert torch.isfinite(lm.model(ids).logits).all()


def test_dtype_device_and_attention(saved: Path) -> None:
    lm = load_lm(str(saved), dtype="bf16", device="cpu", attn_implementation="eager")
    assert lm.model.dtype is torch.bfloat16
    assert lm.view.attention == "eager"
    assert load_lm(str(saved)).model.dtype is torch.float32


def test_without_a_tokenizer(model: Path) -> None:
    for path in model.glob("token*"):
        path.unlink()
    lm = load_lm(str(model))
    assert lm.tokenizer is None
    assert not lm.view.has_tokenizer


def test_shards(tmp_path: Path) -> None:
    tiny_llama().save_pretrained(tmp_path, max_shard_size="5KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    assert torch.equal(load_lm(str(tmp_path)).model.lm_head.weight, tiny_llama().lm_head.weight)


def in_file(tensor: torch.Tensor, directory: Path) -> bool:
    """Whether a tensor's memory is a page of a file of the directory."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(x, 16) for x in line.split()[0].split("-"))
        if start <= tensor.data_ptr() < end:
            return str(directory) in line
    return False


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="shows the mapping on Linux only")
def test_weights_are_our_own_unless_asked_for_as_pages(tmp_path: Path) -> None:
    tiny_llama(tie=True).save_pretrained(tmp_path)
    own, mapped = load_lm(str(tmp_path)), load_lm(str(tmp_path), mapped=True)
    assert in_file(mapped.model.model.norm.weight, tmp_path)
    assert not any(in_file(tensor, tmp_path) for tensor in own.model.state_dict().values())
    assert own.model.lm_head.weight is own.model.model.embed_tokens.weight


def test_transformers_is_left_as_it_was(saved: Path) -> None:
    before = (hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled())
    load_lm(str(saved))
    assert (hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()) == before


def test_a_native_type_needs_no_code_of_its_own(model: Path) -> None:
    """auto_map beside a type that transformers knows: its own class is used, no file is run."""
    edit_config(model, auto_map={"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"})
    (model / "evil.py").write_text("raise SystemExit('ran')")
    assert type(load_lm(str(model)).model) is LlamaForCausalLM


@pytest.mark.parametrize(("given", "dtype"), [(None, "auto"), ("fp16", torch.float16), (torch.float32, torch.float32)])
def test_dtypes(given: Any, dtype: Any) -> None:
    assert as_dtype(given) == dtype


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("refrence", "neither a directory nor a hub id .*did you mean 'reference'"),
        ("/nowhere/at/all", "there is no directory /nowhere/at/all"),
        ("a/b/c", "there is no directory a/b/c"),
        ("./model", "there is no directory ./model"),
        ("", "no model is named"),
        ("refer ence", "neither a directory"),
        ("someone/some-model", "HF_HUB_OFFLINE is set"),
    ],
)
def test_names_that_lead_nowhere(name: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=sentence):
        load_lm(name)


def test_a_file_is_no_model(saved: Path) -> None:
    with pytest.raises(ModelError, match="is a file; give the directory"):
        load_lm(str(saved / "config.json"))


def test_a_mistyped_path_is_not_asked_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(locating, "_snapshot", None)
    with pytest.raises(ModelError, match="there is no directory models/lama"):
        load_lm("models/lama")


def test_a_hub_id_fetches_small_files_first_and_no_pickle(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def snapshot(name: str, revision: str | None, patterns: list[str]) -> Path:
        asked.append((name, revision, patterns))
        return saved

    monkeypatch.setattr(locating, "_snapshot", snapshot)
    assert locate("org/name", revision="abc") == saved
    assert [a[:2] for a in asked] == [("org/name", "abc")] * 2
    assert not any("safetensors" in p and not p.endswith(".json") for p in asked[0][2])
    assert "model.safetensors" in asked[1][2]
    assert not any(p.endswith((".bin", ".py")) or "*" in p for p in asked[1][2])


# --- configs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model_type": "llamma"}, "knows no model_type 'llamma'; did you mean 'llama'"),
        ({"model_type": "zzz9"}, "a newer transformers may"),
        ({"model_type": None}, "has no model_type"),
        ({"model_type": "zzz9", "auto_map": {"AutoConfig": "x.Y"}}, "trust_remote_code=True"),
        ({"model_type": "vit"}, "a model of type 'vit', not a causal language model"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "holds LlamaForSequenceClassification, not a causal"),
        ({"is_encoder_decoder": True}, "not a causal language model"),
        (
            {"_attn_implementation_internal": "someone/kernel"},
            "_attn_implementation_internal asks for 'someone/kernel'",
        ),
        ({"attn_implementation": {"": "a/b:c"}}, "asks for 'a/b:c'"),
        ({"text_config": {"_experts_implementation": "x/y@main"}}, "asks for 'x/y@main'"),
        ({"num_attention_heads": "many"}, "cannot be loaded: "),
        ({"num_hidden_layers": 5}, r"lacks the weights model\.layers\.2\..* and 26 more"),
        ({"hidden_size": 32}, "cannot be loaded: "),
    ],
)
def test_configs_that_are_refused(model: Path, changes: dict[str, Any], sentence: str) -> None:
    edit_config(model, **changes)
    with pytest.raises(ModelError, match=sentence):
        load_lm(str(model))


@pytest.mark.parametrize("text", ["", "   ", "{", "[]", "null"])
def test_configs_that_are_none(model: Path, text: str) -> None:
    (model / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"config\.json"):
        load_lm(str(model))


def test_a_missing_config(model: Path) -> None:
    (model / "config.json").unlink()
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        load_lm(str(model))


@pytest.mark.parametrize(
    ("config", "sentence"), [(True, "an adapter beside a model"), (False, "without its base model")]
)
def test_adapters(model: Path, config: bool, sentence: str) -> None:
    (model / "adapter_config.json").write_text('{"base_model_name_or_path": "meta/base"}')
    if not config:
        (model / "config.json").unlink()
    with pytest.raises(ModelError, match=sentence):
        load_lm(str(model))


def test_attention_from_a_hub_needs_consent(saved: Path) -> None:
    with pytest.raises(ModelError, match="is code from a hub"):
        load_lm(str(saved), attn_implementation="kernels-community/flash-attn")


def test_unknown_attention_dtype_and_device(saved: Path) -> None:
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_lm(str(saved), attn_implementation="spda")
    with pytest.raises(ModelError, match="unknown dtype 'float31'; did you mean 'float32'"):
        load_lm(str(saved), dtype="float31")
    with pytest.raises(ModelError, match="cannot be moved to nowhere"):
        load_lm(str(saved), device="nowhere")


# --- weights -------------------------------------------------------------------------------------


def spoil(name: str, value: float) -> Callable[[dict[str, torch.Tensor]], None]:
    return lambda tensors: tensors[name].view(-1)[3].fill_(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite(model: Path, value: float) -> None:
    edit_weights(model, spoil("model.layers.1.mlp.up_proj.weight", value))
    with pytest.raises(ModelError, match=r"model\.layers\.1\.mlp\.up_proj\.weight holds NaN or infinite"):
        load_lm(str(model))


def test_a_missing_tensor_is_not_left_to_chance(model: Path) -> None:
    edit_weights(model, lambda tensors: tensors.pop("lm_head.weight"))
    with pytest.raises(ModelError, match=r"lacks the weights lm_head\.weight"):
        load_lm(str(model))


def test_pickles(model: Path) -> None:
    (model / "model.safetensors").unlink()
    torch.save(tiny_llama().state_dict(), model / "pytorch_model.bin")
    with pytest.raises(ModelError, match="only as a pickle"):
        load_lm(str(model))


def test_truncated_weights(model: Path) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ModelError, match=r"is not a whole safetensors file: tensor .* ends at byte"):
        load_lm(str(model))


def test_a_header_that_claims_too_much(model: Path) -> None:
    path = model / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 60) + path.read_bytes()[8:])
    with pytest.raises(ModelError, match="header claims 1152921504606846976 bytes"):
        load_lm(str(model))


def test_an_index_that_promises_too_much(tmp_path: Path) -> None:
    tiny_llama().save_pretrained(tmp_path, max_shard_size="5KB")
    index = tmp_path / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["model.layers.9.x"] = content["weight_map"]["lm_head.weight"]
    index.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"promises model\.layers\.9\.x"):
        load_lm(str(tmp_path))


# --- tokenizers ----------------------------------------------------------------------------------


def test_a_tokenizer_larger_than_the_embedding(model: Path) -> None:
    tokenizer(VOCAB + 1).save_pretrained(model)
    with pytest.raises(ModelError, match="has 33 tokens, the model embeds 32"):
        load_lm(str(model))


@pytest.mark.parametrize("text", ["", "{}", '{"model": 3}', "[" * 1000])
def test_a_broken_tokenizer(model: Path, text: str) -> None:
    (model / "tokenizer.json").write_text(text)
    with pytest.raises(ModelError, match=r"the tokenizer in .* cannot be loaded"):
        load_lm(str(model))


# --- exports -------------------------------------------------------------------------------------


def test_an_export_needs_someone_to_rebuild_its_modules(model: Path) -> None:
    record = {"format": 1, "modules": {"model.layers.0.mlp.up_proj": {"method": "finequant", "spec": {}}}}
    (model / "paretolm.json").write_text(json.dumps(record))
    with pytest.raises(ModelError, match=r"open it with paretolm\.load"):
        load_lm(str(model))


@pytest.mark.parametrize(
    ("record", "sentence"),
    [({}, "format None, not 1"), ({"format": 2}, "format 2"), ({"format": 1, "modules": []}, "which modules")],
)
def test_exports_that_are_none(model: Path, record: dict[str, Any], sentence: str) -> None:
    (model / "paretolm.json").write_text(json.dumps(record))
    with pytest.raises(ModelError, match=sentence):
        load_lm(str(model))
