"""The mode without undo: the same numbers as in a session, no second copy, and models in memory left alone."""

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from paretolm.bridge.bytes import module_bytes
from paretolm.bridge.lm import LM
from paretolm.contracts import Interval
from paretolm.errors import CallError, ConflictError, ModelError
from paretolm.methods.weights import finequant
from paretolm.methods.weights._packing import QuantLinear
from paretolm.recipes.convert import bake, load, load_converted, rebuild, shell_copy
from paretolm.recipes.recipe import recipe
from tests.contract.tiny import text, tiny

LINE = "finequant(bits=8) + streaming-llm(sinks=2, window=16)"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("tiny")
    tiny("llama").model.save_pretrained(directory)
    return str(directory)


def logits(lm: LM) -> torch.Tensor:
    with torch.no_grad():
        return lm.model(text(24)).logits


def test_without_a_recipe_it_is_the_model(saved: str) -> None:
    lm = load(saved)
    assert torch.equal(logits(lm), logits(tiny("llama")))
    assert (lm.recipe_in_force, lm.recipe_left, lm.replaced) == ("", "", {})


def test_for_good_equals_a_session(saved: str) -> None:
    lm, dense = load(saved, "finequant"), load(saved)
    with recipe("finequant").apply(dense) as session:
        assert torch.equal(logits(lm), logits(dense))
        assert (lm.counters, lm.notes) == (session.counters, session.notes)
    assert lm.recipe_in_force == recipe("finequant").full()
    assert lm.content_hash != dense.content_hash
    assert lm.content_hash == load(saved, "finequant").content_hash != load(saved, "finequant(bits=8)").content_hash


def test_what_is_not_of_the_weights_stays_a_recipe(saved: str) -> None:
    lm = load_converted(saved, recipe(LINE))
    assert lm.recipe_in_force == recipe("finequant(bits=8)").full()
    assert lm.recipe_left == recipe("streaming-llm(sinks=2, window=16)").full()
    with recipe(lm.recipe_left).apply(lm) as session:
        session.generate(text(40), max_new_tokens=2)
        assert session.counters["streaming-llm"]["tokens_evicted"] > 0
        assert not session.parked


def test_bytes_are_as_predicted(saved: str) -> None:
    predicted = recipe("finequant(bits=8)").cost(load(saved).view, 1).weight_bytes
    lm = load(saved, "finequant(bits=8)")
    assert Interval.exact(module_bytes(lm.model)) == predicted
    assert lm.view.weight_bytes == module_bytes(lm.model)


def test_there_is_never_a_second_copy(saved: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a matrix is rounded, all that were rounded before it are gone."""
    lm = load(saved)
    originals = [
        weakref.ref(module.weight)
        for path, module in lm.model.named_modules()
        if isinstance(module, nn.Linear) and path != "lm_head"
    ]
    alive: list[int] = []
    quantize = finequant.quantize

    def watched(*args: Any) -> Any:
        alive.append(sum(weight() is not None for weight in originals))
        return quantize(*args)

    monkeypatch.setattr(finequant, "quantize", watched)
    bake(lm, "finequant")
    assert alive == list(range(14, 0, -1))


def test_conflicts_come_before_any_change(saved: str) -> None:
    lm = load(saved)
    before = dict(lm.model.named_modules())
    with pytest.raises(ConflictError):
        bake(lm, "finequant(group_size=24)")
    assert dict(lm.model.named_modules()) == before
    with pytest.raises(ConflictError, match=r"nn\.Linear"):
        bake(bake(lm, "finequant"), "finequant")


def test_a_model_with_a_recipe_in_force_is_left_alone(saved: str) -> None:
    lm = load(saved)
    with recipe("finequant").apply(lm), pytest.raises(CallError, match="leave its `with` block"):
        bake(lm, "finequant")


def test_two_steps_are_remembered_as_one_line(saved: str) -> None:
    lm = bake(bake(load(saved), "dense"), "finequant(bits=8)")
    assert lm.recipe_in_force == recipe("finequant(bits=8)").full()


def test_a_shell_shares_every_tensor_and_no_module() -> None:
    model = tiny("llama").model
    shell = shell_copy(model)
    ours, theirs = dict(model.named_parameters()), dict(shell.named_parameters())
    assert all(theirs[name] is parameter for name, parameter in ours.items())
    assert not set(map(id, model.modules())) & set(map(id, shell.modules()))
    shell.set_submodule("model.layers.0.mlp.up_proj", nn.Identity())
    assert isinstance(model.get_submodule("model.layers.0.mlp.up_proj"), nn.Linear)


def test_a_record_rebuilds_an_empty_module() -> None:
    spec = {"out_features": 4, "in_features": 32, "bits": 4, "group": 16, "bias": False}
    module = rebuild({"method": "finequant", "spec": spec})
    assert isinstance(module, QuantLinear)
    assert module.spec() == spec


@pytest.mark.parametrize("record", [{}, {"method": "finequant"}, {"method": "finequant", "spec": None}])
def test_a_record_without_a_spec(record: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="without the spec"):
        rebuild(record)


def test_a_method_that_saves_no_modules_says_so() -> None:
    with pytest.raises(ConflictError, match="streaming-llm makes modules that cannot be rebuilt"):
        rebuild({"method": "streaming-llm", "spec": {}})


def test_devices_and_dtypes_are_handed_on(saved: str) -> None:
    lm = load(saved, "finequant", device="cpu", dtype="bfloat16")
    assert lm.model.dtype is torch.bfloat16
    assert lm.model.model.layers[0].mlp.up_proj.scales.dtype is torch.float16
    with pytest.raises(ModelError, match="there is no directory"):
        load(str(Path(saved) / "nowhere"), "finequant")
