"""Wanda: the metric by hand and against a plain twin, norms of what matrices really read."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paretolm.bridge.bytes import module_bytes
from paretolm.errors import FitError, TextError
from paretolm.methods.weights.wanda import Wanda, least_important
from paretolm.recipes.recipe import recipe
from tests.contract.spec import LawSpec
from tests.contract.tiny import tiny

from .calibrated import fitter, opened

LAWS = LawSpec(
    neutral="wanda(sparsity=0)",
    acts="wanda(sparsity=0.5)",
    monotone=("wanda(sparsity=0.2)", "wanda(sparsity=0.5)", "wanda(sparsity=0.8)"),
    refused={"mixtral": "stacked experts", "gpt2": "Conv1D"},
)


def test_the_metric_by_hand() -> None:
    """Magnitude alone would take the first of each row; the inputs say otherwise."""
    weight = torch.tensor([[1.0, 2.0, 3.0, 4.0], [4.0, -3.0, 2.0, -1.0]])
    norms = torch.tensor([8.0, 3.0, 1.0, 0.5])  # products: 8 6 3 2, and 32 9 2 0.5
    assert least_important(weight, norms, 0.5).tolist() == [[False, False, True, True]] * 2
    assert least_important(weight, norms, 0, 1, 2).tolist() == [[False, True, False, True]] * 2


@given(st.integers(0, 300), st.floats(0, 1))
def test_the_metric_equals_its_plain_twin(seed: int, sparsity: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight, norms = torch.randn(4, 9, generator=generator), torch.rand(9, generator=generator)
    gone = least_important(weight, norms, sparsity)
    for row, mask in zip(weight.tolist(), gone.tolist(), strict=True):
        products = [abs(w) * n for w, n in zip(row, norms.tolist(), strict=True)]
        order = sorted(range(9), key=products.__getitem__)
        assert [i for i in range(9) if mask[i]] == sorted(order[: int(sparsity * 9)])


def test_norms_are_those_of_what_the_matrices_read() -> None:
    """Of the first layer, which no pruning stands before: read by hooks of our own in plain forwards."""
    lm, texts = fitter()
    artifact = Wanda(sparsity=0.5).fit(texts, None)
    seen: dict[str, list[torch.Tensor]] = {}
    paths = [path for path in artifact.tensors if path.startswith("model.layers.0.")]
    for path in paths:
        lm.model.get_submodule(path).register_forward_pre_hook(
            lambda _, args, path=path: seen.setdefault(path, []).append(args[0][0])
        )
    with torch.no_grad():
        for ids in texts.documents():
            lm.model(ids)
    assert len(paths) == 7
    for path in paths:
        torch.testing.assert_close(artifact.tensors[path], torch.cat(seen[path]).norm(dim=0))


def test_later_layers_read_what_pruned_ones_put_out() -> None:
    """Fitted at sparsity 0 and at 0.9 the first layer sees the same attention inputs, the second does not."""
    _, texts = fitter()
    whole, thin = (Wanda(sparsity=s).fit(texts, None).tensors for s in (0.0, 0.9))
    first, second = (f"model.layers.{i}.self_attn.q_proj" for i in (0, 1))
    assert torch.equal(whole[first], thin[first])
    assert not torch.allclose(whole[second], thin[second], rtol=0.01)


@pytest.mark.parametrize("name", ["llama", "gpt_neox", "gemma3", "qwen3"])
def test_at_sparsity_0_every_layer_reads_what_a_plain_forward_gives_it(name: str) -> None:
    """The walk through the layers leaves nothing of the model's own forward out."""
    lm, texts = fitter(name, count=1)
    artifact = Wanda(sparsity=0).fit(texts, None)
    last = max(artifact.tensors)
    seen: list[torch.Tensor] = []
    lm.model.get_submodule(last).register_forward_pre_hook(lambda _, args: seen.append(args[0][0]))
    with torch.no_grad():
        lm.model(next(iter(texts.documents())))
    torch.testing.assert_close(artifact.tensors[last], seen[0].norm(dim=0))


def test_in_force_each_row_has_its_zeros_and_no_byte_is_saved() -> None:
    lm, texts = fitter()
    method = Wanda(sparsity=0.25)
    before = module_bytes(lm.model)
    with opened(lm, method, method.fit(texts, None)) as session:
        weight = lm.model.model.layers[1].mlp.down_proj.weight
        assert set((weight == 0).sum(1).tolist()) == {weight.shape[1] // 4}
        assert module_bytes(lm.model) == before
        assert session.notes["wanda"]["bytes"]["before"] == session.notes["wanda"]["bytes"]["after"]


def test_as_many_pieces_and_tokens_as_asked() -> None:
    _, texts = fitter()
    assert Wanda(nsamples=3).fit(texts, None).facts == {"pieces": 3, "tokens": 120}
    assert Wanda().fit(texts, 50).facts == {"pieces": 2, "tokens": 50}


def test_another_seed_reads_other_pieces() -> None:
    _, texts = fitter()
    a, b, c = (Wanda(nsamples=1, seed=s).fit(texts, None).tensors for s in (0, 0, 3))
    path = "model.layers.0.self_attn.q_proj"
    assert torch.equal(a[path], b[path])
    assert not torch.equal(a[path], c[path])


def test_nothing_to_calibrate_on() -> None:
    _, texts = fitter(count=0)
    with pytest.raises(TextError, match="no tokens"):
        Wanda().fit(texts, None)


def test_without_an_artifact_the_cure_is_named(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARETOLM_HOME", str(tmp_path))
    with pytest.raises(FitError, match="paretolm fit"), recipe("wanda").apply(tiny("llama")):
        pass
