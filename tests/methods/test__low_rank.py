"""Pairs beside matrices: sums by hand, a pair that is learnt, and what stands in the model afterwards."""

import pytest
import torch

from paretolm.contracts import Altered, Artifact
from paretolm.errors import ConflictError, FitError, TextError
from paretolm.methods._low_rank import (
    Pair,
    attention_matrices,
    fresh,
    learn,
    matrices,
    merged,
    next_token_loss,
    pair_at,
    to_tensors,
    windows,
)
from tests.contract.tiny import tiny
from tests.methods.weights.calibrated import fitter


def test_a_sum_by_hand():
    pair = Pair(down=torch.tensor([[1.0, 2.0]]), up=torch.tensor([[3.0], [0.0]]))
    assert merged(torch.eye(2), pair).tolist() == [[4, 6], [0, 1]]


def test_fresh_pairs_add_nothing_and_have_the_rank():
    base = {"a": torch.randn(6, 4, dtype=torch.bfloat16), "b": torch.randn(3, 5)}
    pairs = fresh(base, 2)
    assert [tuple(part.shape) for part in pairs["a"]] == [(2, 4), (6, 2)]
    assert all(torch.equal(merged(base[path], pair), base[path]) for path, pair in pairs.items())
    assert torch.equal(pairs["b"].down, fresh(base, 2)["b"].down)
    assert not torch.equal(pairs["b"].down, fresh(base, 2, seed=1)["b"].down)


def test_the_matrices_of_attention_are_the_models_own():
    lm, text = fitter()
    paths = attention_matrices("x", lm.view, lm.view.full_layers)
    assert paths == [f"model.layers.{i}.self_attn.{n}_proj" for i in range(2) for n in "qkvo"]
    with torch.inference_mode():
        found = matrices(text, paths)
    assert all(torch.equal(found[path], lm.model.get_submodule(path).weight) for path in paths)
    with pytest.raises(ConflictError, match="holds none"):
        attention_matrices("x", tiny("gpt2").view, [0])


def test_a_change_of_rank_one_is_learnt_and_kept_apart():
    """The best pair for |W + up down - target|^2 with a target of rank one away is that difference."""
    draw = torch.Generator().manual_seed(3)
    base = {"w": torch.randn(8, 6, generator=draw)}
    target = base["w"] + torch.randn(8, 1, generator=draw) @ torch.randn(1, 6, generator=draw)
    before = base["w"].clone()
    with torch.inference_mode():
        pairs, losses = learn(base, fresh(base, 1), lambda _, now: (now["w"] - target).square().sum(), 300, 0.05)
    assert losses[-1] < 1e-3 * losses[0]
    torch.testing.assert_close(merged(base["w"], pairs["w"]), target, atol=0.05, rtol=0)
    assert torch.equal(base["w"], before)


def test_an_altered_model_reads_better_what_it_was_tuned_on():
    lm, text = fitter(count=1)
    paths = attention_matrices("x", lm.view, lm.view.full_layers)
    base, (ids,) = matrices(text, paths), windows(text, 40)
    before = [p.clone() for p in lm.model.parameters()]

    def lesson(_, now):
        return next_token_loss(text.altered(ids, Altered(weights=now))[0], ids)

    pairs, losses = learn(base, fresh(base, 4), lesson, 30, 1e-2)
    assert losses[0] == pytest.approx(float(next_token_loss(text.forward(ids)[0], ids)), abs=1e-4)
    assert losses[-1] < 0.9 * losses[0]
    assert all(torch.equal(a, b) for a, b in zip(before, lm.model.parameters(), strict=True))
    assert all(pair.up.abs().sum() > 0 for pair in pairs.values())


def test_the_loss_is_that_of_the_next_token():
    logits = torch.log(torch.tensor([[[0.1, 0.9], [0.5, 0.5], [0.2, 0.8]]]))
    told = next_token_loss(logits, torch.tensor([[0, 1, 0]]))
    assert float(told) == pytest.approx(-(torch.log(torch.tensor(0.9)) + torch.log(torch.tensor(0.5))).item() / 2)


def test_windows_join_documents():
    _, text = fitter(count=3, length=40)
    found = windows(text, 50)
    assert [piece.shape[1] for piece in found] == [50, 50, 20]
    assert torch.equal(torch.cat(found, 1), torch.cat(list(text.documents()), 1))
    assert [piece.shape[1] for piece in windows(text, 50, budget=64)] == [50, 14]
    with pytest.raises(TextError, match="fewer than 8 tokens"):
        windows(text, 50, budget=5)


def test_a_loss_that_is_no_number_is_named():
    base = {"w": torch.ones(2, 2)}
    with pytest.raises(FitError, match="loss of step 1 is nan"):
        learn(base, fresh(base, 1), lambda _, now: now["w"].sum() * float("nan"), 3, 0.1)


def test_an_artifact_holds_pairs_by_path():
    pairs = fresh({"a.b": torch.ones(3, 2)}, 2)
    again = pair_at(Artifact(to_tensors(pairs)), "a.b")
    assert torch.equal(again.down, pairs["a.b"].down)
    assert torch.equal(again.up, pairs["a.b"].up)
