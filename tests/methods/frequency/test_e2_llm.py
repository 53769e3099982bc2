"""E2-LLM: positions by hand, draws within their range, a tuning that serves several scales, and what is in force."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paretolm.contracts import Altered
from paretolm.errors import ConflictError, FitError, RecipeError
from paretolm.methods._low_rank import merged, pair_at
from paretolm.methods.frequency.e2_llm import E2LLM, drawn, scaled_positions
from paretolm.recipes.making import method_line
from paretolm.recipes.recipe import recipe
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.weights.calibrated import fitter, opened

LAWS = LawSpec(
    neutral="e2-llm(scale=1, steps=0)",
    acts="e2-llm(scale=4, steps=2, rank=2)",
    refused={"gpt2": "has none", "gemma3": "two kinds"},
)


def test_positions_by_hand():
    assert scaled_positions(7, 2, 6, first=4).tolist() == [[0, 0.5, 1, 1.5, 5, 5.5, 6]]
    assert scaled_positions(3, 1, 0).tolist() == [[0, 1, 2]]


@given(step=st.integers(0, 10**6), g_max=st.integers(1, 40), length=st.integers(1, 8192), seed=st.integers(0, 99))
def test_no_position_leaves_the_trained_range(step, g_max, length, seed):
    g, t = drawn(step, g_max, length, seed)
    assert 1 <= g <= g_max
    assert t >= 0
    assert (length + t) / g <= length
    assert drawn(step, g_max, length, seed) == (g, t)


def test_a_scale_is_drawn_as_often_as_its_inverse_and_offsets_fill_their_range():
    draws = [drawn(step, 4, 100, 0) for step in range(2500)]
    for g in range(1, 5):
        offsets = [t for scale, t in draws if scale == g]
        assert len(offsets) == pytest.approx(1200 / g, rel=0.15)  # 1 + 1/2 + 1/3 + 1/4 = 25/12
        assert max(offsets) > 0.95 * 100 * (g - 1) - 1
        assert min(offsets) <= 0.05 * 100 * (g - 1)


def test_one_tuning_brings_every_scale_nearer_to_the_text():
    """Eight windows read again and again at scales 1 and 3: all that was tuned reads them better at both."""
    lm, texts = fitter(count=3, length=40)
    method = E2LLM(g_max=3, rank=4, steps=40, rate=2e-2)
    artifact = method.fit(texts, None)
    assert artifact.facts["loss"] < artifact.facts["first_loss"]
    (ids,) = [torch.cat(list(texts.documents()), 1)]
    weights = {p: merged(lm.model.get_submodule(p).weight, pair_at(artifact, p)) for p in method._tuned(lm.view)}
    for scale in (1, 3):
        positions = scaled_positions(ids.shape[1], scale, 0)
        tuned, own = (
            torch.nn.functional.cross_entropy(
                texts.altered(ids, Altered(weights=w, positions=positions))[0][0, :-1].detach(), ids[0, 1:]
            )
            for w in (weights, {})
        )
        assert tuned < own - 0.05


def test_the_session_reads_as_the_tuning_did():
    """Frequencies divided and matrices merged are one forward at divided positions with the sums in place."""
    lm, texts = fitter()
    method = E2LLM(scale=3, g_max=3, rank=4, steps=5, rate=1e-2)
    artifact, ids = method.fit(texts, None), text(50)
    weights = {p: merged(lm.model.get_submodule(p).weight, pair_at(artifact, p)) for p in method._tuned(lm.view)}
    expected = texts.altered(ids, Altered(weights=weights, positions=scaled_positions(50, 3, 0)))[0].detach()
    with torch.inference_mode(), opened(lm, method, artifact) as session:
        got = lm.model(ids).logits
        counts = session.counters["e2-llm"]
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
    assert counts == {"matrices_tuned": 8, "frequencies_changed": 8}


def test_without_tuning_it_is_position_interpolation():
    lm, ids = tiny(), text(50)
    with torch.inference_mode():
        with recipe("e2-llm(scale=4, steps=0)").apply(lm):
            ours = lm.model(ids).logits
        with recipe("giraffe(basis=linear, scale=4)").apply(lm):
            assert torch.equal(lm.model(ids).logits, ours)


def test_one_artifact_serves_every_scale():
    assert method_line(E2LLM(scale=2)) == method_line(E2LLM(scale=8)) != method_line(E2LLM(rank=4))


def test_an_artifact_is_small_and_the_same_again():
    _, texts = fitter()
    a, b = (E2LLM(g_max=3, rank=4, steps=3).fit(texts, None) for _ in range(2))
    assert all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)
    assert a.facts["parameters"] == 2 * 4 * sum((64 + 64, 64 + 32, 64 + 32, 64 + 64))  # layers, rank, in + out


def test_mistakes_are_named():
    with pytest.raises(ConflictError, match="has none"):
        list(E2LLM().plan(tiny("gpt2").view))
    with pytest.raises(RecipeError, match="at least 1"):
        recipe("e2-llm(scale=0.5)")
    with pytest.raises(FitError, match="fit"):
        recipe("e2-llm(seed=77)").apply(tiny()).__enter__()
