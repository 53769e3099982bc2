"""Export: a directory that opens to equal logits, is as small as predicted, and appears whole or not at all."""

import json
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from paretolm.bridge.content import content_hash
from paretolm.bridge.lm import LM
from paretolm.errors import ConflictError, ModelError, RunError
from paretolm.methods.weights._packing import QuantLinear
from paretolm.recipes import export as exporting
from paretolm.recipes.convert import load
from paretolm.recipes.export import export
from paretolm.recipes.recipe import recipe
from tests.contract.tiny import MUST_WORK, text, tiny

HEADER = 16384  # names and shapes of 82 tensors


def logits(lm: LM) -> torch.Tensor:
    with torch.no_grad():
        return lm.model(text(24)).logits


@pytest.mark.parametrize("line", ["finequant", "finequant(bits=8)"])
def test_the_embedded_model_there_and_back(line: str, tmp_path: Path) -> None:
    out = export("reference", line, tmp_path / "out")
    there, back = load("reference", line), load(str(out))
    assert torch.equal(logits(there), logits(back))
    assert type(back.model) is type(there.model)
    assert back.tokenizer.get_vocab() == there.tokenizer.get_vocab()
    assert back.model.generation_config.eos_token_id == there.model.generation_config.eos_token_id
    assert (back.recipe_in_force, back.notes, back.counters) == (there.recipe_in_force, there.notes, there.counters)
    written = (out / "model.paretolm.safetensors").stat().st_size
    predicted = recipe(line).cost(load("reference").view, 1).weight_bytes
    assert predicted.low < written < predicted.high + HEADER
    assert written < 0.7 * sum(p.nbytes for p in load("reference").model.parameters())


@pytest.mark.parametrize("name", MUST_WORK)
def test_every_architecture_there_and_back(name: str, tmp_path: Path) -> None:
    """gpt_neox has biases beside the packed matrices."""
    lm = tiny(name)
    before = logits(lm)
    out = export(lm, "finequant", tmp_path / "out")
    back = load(str(out))
    assert torch.equal(logits(lm), before)
    assert any(isinstance(m, QuantLinear) for m in back.model.modules())
    with recipe("finequant").apply(lm):
        assert torch.equal(logits(lm), logits(back))


def test_what_is_left_is_in_force_by_default(tmp_path: Path) -> None:
    out = export(tiny("llama"), "finequant + streaming-llm(sinks=2, window=16)", tmp_path / "out")
    lm = load(str(out))
    assert lm.recipe_left == recipe("streaming-llm(sinks=2, window=16)").full()
    record = json.loads((out / "paretolm.json").read_text())
    assert record["hash"] == recipe("finequant + streaming-llm(sinks=2, window=16)").hash
    assert record["base"]["content_hash"] == tiny("llama").content_hash
    assert set(record["versions"]) == {"paretolm", "torch", "transformers"}


def test_a_recipe_without_weight_methods_keeps_plain_weights(tmp_path: Path) -> None:
    out = export(tiny("llama"), "streaming-llm(sinks=2, window=16)", tmp_path / "out")
    plain = AutoModelForCausalLM.from_pretrained(out)
    with torch.no_grad():
        assert torch.equal(plain(text(24)).logits, logits(load(str(out))))


def test_no_other_loader_fills_the_gaps_at_random(tmp_path: Path) -> None:
    out = export(tiny("llama"), "finequant", tmp_path / "out")
    with pytest.raises(OSError, match=r"no file named model\.safetensors"):
        AutoModelForCausalLM.from_pretrained(out)


def test_a_pruned_checkpoint_is_one_that_any_loader_opens(tmp_path: Path) -> None:
    out = export(tiny("llama"), "magnitude(sparsity=0.5)", tmp_path / "out")
    plain = AutoModelForCausalLM.from_pretrained(out)
    assert (plain.model.layers[0].mlp.up_proj.weight == 0).float().mean() == 0.5
    with torch.no_grad():
        assert torch.equal(plain(text(24)).logits, logits(load(str(out))))


def test_an_export_of_an_export(tmp_path: Path) -> None:
    first = export(tiny("llama"), "finequant", tmp_path / "first")
    second = export(str(first), "streaming-llm(sinks=2, window=16)", tmp_path / "second")
    one, two = load(str(first)), load(str(second))
    assert torch.equal(logits(one), logits(two))
    assert (two.recipe_in_force, two.replaced) == (one.recipe_in_force, one.replaced)
    assert two.recipe_left == recipe("streaming-llm(sinks=2, window=16)").full()


def test_contents_and_hashes_change_together(tmp_path: Path) -> None:
    hashes = {content_hash(export(tiny("llama"), line, tmp_path / line)) for line in ("finequant", "finequant(bits=8)")}
    assert len(hashes) == 2


# --- what is refused -----------------------------------------------------------------------------


def test_a_full_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ModelError, match="already exists and is not an empty directory"):
        export(tiny("llama"), "finequant", tmp_path)
    with pytest.raises(ModelError, match="already exists"):
        export(tiny("llama"), "finequant", tmp_path / "notes.txt")
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert load(str(export(tiny("llama"), "finequant", tmp_path / "out"))).recipe_in_force


def test_a_full_disk_is_seen_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 20))
    monkeypatch.setattr(exporting, "bake", None)
    with pytest.raises(ModelError, match=r"needs up to 6\d MiB, and .* has 1 MiB free"):
        export(tiny("llama"), "finequant", tmp_path / "out")


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "_record", fail)
    with pytest.raises(RunError, match="No space left on device"):
        export(tiny("llama"), "finequant", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_conflicts_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConflictError):
        export(tiny("gpt2"), "finequant", tmp_path / "out")
    assert not list(tmp_path.iterdir())


# --- damaged exports -----------------------------------------------------------------------------


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return export(tiny("llama"), "finequant", tmp_path / "out")


def edited(out: Path, change: Any) -> str:
    record = json.loads((out / "paretolm.json").read_text())
    change(record["modules"]["model.layers.0.mlp.up_proj"], record)
    (out / "paretolm.json").write_text(json.dumps(record))
    return str(out)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda module, record: module.update(method="finequnat"), "did you mean 'finequant'"),
        (lambda module, record: module.pop("spec"), "without the spec"),
        (lambda module, record: module["spec"].update(colour=1), "cannot be loaded"),
        (lambda module, record: module["spec"].update(bits="4"), "cannot be loaded"),
        (lambda module, record: module["spec"].update(out_features=8), "cannot be loaded"),
        (lambda module, record: module["spec"].update(group=3), "cannot be loaded"),
        (lambda module, record: record["modules"].update({"model.nothing": module}), "replaces model.nothing"),
        (lambda module, record: record["modules"].pop("model.layers.0.mlp.up_proj"), "lacks the weights"),
    ],
)
def test_records_that_do_not_fit_the_weights(out: Path, change: Any, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        load(edited(out, change))
