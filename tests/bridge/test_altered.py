"""Forwards that methods learn from: nothing changed is the model itself, what is changed acts and has gradients."""

import pytest
import torch

from paretolm.bridge.altered import altered_forward
from paretolm.contracts import Altered
from paretolm.errors import CallError
from paretolm.recipes.recipe import recipe
from tests.contract.tiny import tiny

IDS = torch.tensor([[5, 9, 2, 7, 33, 8, 1, 4]])


def plainly(layer, queries, keys, values, scaling):
    """Softmax attention, written out."""
    group = queries.shape[1] // keys.shape[1]
    keys, values = keys.repeat_interleave(group, 1), values.repeat_interleave(group, 1)
    size = queries.shape[2]
    hidden = torch.ones(size, size, dtype=torch.bool).triu(1)
    return ((queries @ keys.mT) * scaling).masked_fill(hidden, float("-inf")).softmax(-1) @ values


def own(lm, **given):
    with torch.no_grad():
        return lm.model(input_ids=IDS, use_cache=False, output_hidden_states=True, **given)


@pytest.mark.parametrize("name", ["llama", "gpt_neox", "gemma3", "gpt2", "mixtral"])
def test_nothing_changed_is_the_model_itself(name):
    lm = tiny(name)
    for change in (Altered(), Altered(attention=plainly), Altered(attention=lambda *_: None)):
        logits, hidden = altered_forward(lm, IDS, change)
        torch.testing.assert_close(logits.detach(), own(lm).logits)
        torch.testing.assert_close(hidden.detach(), own(lm).hidden_states[-1])
    assert all(p.grad is None for p in lm.model.parameters())


def test_attention_is_asked_for_full_layers_in_order_and_gradients_reach_what_it_holds():
    lm, asked, gate = tiny("gemma3"), [], torch.ones((), requires_grad=True)

    def gated(layer, *given):
        asked.append(layer)
        return plainly(layer, *given) * gate

    altered_forward(lm, IDS, Altered(attention=gated))[0].square().sum().backward()
    assert asked == sorted(lm.view.full_layers)
    assert gate.grad is not None
    assert gate.grad.abs() > 0


def test_another_matrix_stands_in_and_is_learnt():
    lm = tiny("llama")
    path, matrix = next((n, m) for n, m in lm.model.named_modules() if n.endswith("q_proj"))
    new = torch.zeros_like(matrix.weight, requires_grad=True)
    logits, _ = altered_forward(lm, IDS, Altered(weights={path: new}))
    assert not torch.allclose(logits, own(lm).logits)
    logits.square().sum().backward()
    assert new.grad.abs().sum() > 0
    assert matrix.weight.abs().sum() > 0
    with pytest.raises(CallError, match="no matrix"):
        altered_forward(lm, IDS, Altered(weights={"model.nothing": new}))


def test_positions_may_be_fractions_and_need_rotary_embeddings():
    lm, places = tiny("llama"), torch.arange(IDS.shape[1])[None]
    moved, _ = altered_forward(lm, IDS, Altered(positions=places + 7))
    torch.testing.assert_close(moved.detach(), own(lm).logits, atol=1e-4, rtol=1e-4)  # only distances count
    halved, _ = altered_forward(lm, IDS, Altered(positions=places / 2))
    assert not torch.allclose(halved, own(lm).logits, atol=1e-4)
    with recipe("giraffe(basis=linear, scale=2)").apply(lm):
        torch.testing.assert_close(halved.detach(), own(lm).logits, atol=1e-5, rtol=1e-4)
    whole, _ = altered_forward(lm, IDS, Altered(positions=(places * 2).float() / 2))
    torch.testing.assert_close(whole.detach(), own(lm).logits)
    with pytest.raises(CallError, match="rotary"):
        altered_forward(tiny("gpt2"), IDS, Altered(positions=places))


def test_it_leaves_the_model_as_it_was_even_after_an_error():
    lm = tiny("llama")
    before = lm.model.config._attn_implementation

    def broken(*_):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        altered_forward(lm, IDS, Altered(attention=broken))
    assert lm.model.config._attn_implementation == before
    torch.testing.assert_close(altered_forward(lm, IDS, Altered())[0].detach(), own(lm).logits)
