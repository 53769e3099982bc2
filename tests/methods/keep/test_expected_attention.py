"""Expected attention: rotations against complex numbers, the closed form against samples, scores against a loop."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paretolm
from paretolm.bridge.rope import rotate
from paretolm.contracts import Budget
from paretolm.errors import RecipeError
from paretolm.methods.keep.expected_attention import ExpectedAttention, expected_attention, future_queries, turn
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny

LAWS = LawSpec(neutral="expected-attention(budget=100%)", acts="expected-attention(budget=25%)")
FREQ = torch.tensor([1.0, 0.1])


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("halves", [True, False])
@pytest.mark.parametrize("width", [4, 6])
def test_turning_is_the_rotation_of_the_bridge(halves, width):
    """Also where two channels do not turn."""
    x, by = drawn(1, 2, 3, width), torch.tensor([[[5, 6, 7]]])
    angle = by[..., None] * FREQ
    torch.testing.assert_close(turn(x, angle.cos(), angle.sin(), halves), rotate(x, by, FREQ, halves))


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 6), st.integers(1, 5), st.booleans(), st.integers(0, 99))
def test_statistics_equal_a_loop_over_queries_and_future_positions(w, future, halves, seed):
    """Each query is turned to every future position; its mean over these is one sample."""
    queries, positions = drawn(1, 1, w, 6, seed=seed), torch.arange(10, 10 + w)[None]
    mean, covariance = future_queries(queries, positions, FREQ, range(40, 40 + future), halves)
    samples = torch.stack(
        [
            torch.stack([rotate(queries[:, :, i : i + 1], torch.tensor([[[t - 10 - i]]]), FREQ, halves)[0, 0, 0]
                         for t in range(40, 40 + future)]).mean(0)
            for i in range(w)
        ]
    )  # fmt: skip
    centred = samples - samples.mean(0)
    torch.testing.assert_close(mean[0, 0], samples.mean(0), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(covariance[0, 0], centred.T @ centred / w, atol=1e-5, rtol=1e-4)


def test_the_closed_form_is_the_mean_over_gaussian_queries():
    """Each head of the group, by 400,000 draws."""
    keys, mean, scaling = drawn(1, 1, 5, 3), drawn(1, 2, 3, seed=1), 0.5
    root = drawn(1, 2, 3, 3, seed=2)
    covariance = root @ root.transpose(-1, -2)
    shares = []
    for head in range(2):
        queries = mean[0, head] + drawn(400_000, 3, seed=3) @ root[0, head].T
        weights = (scaling * queries.double() @ keys[0, 0].double().T).exp().mean(0)
        shares.append(weights / weights.sum())
    expected = torch.stack(shares).mean(0).float()
    torch.testing.assert_close(expected_attention(keys, mean, covariance, scaling)[0, 0], expected, atol=0.01, rtol=0)


def test_without_covariance_it_is_attention_of_the_mean_query():
    keys, mean = drawn(1, 1, 4, 2), drawn(1, 1, 2, seed=1)
    weights = [math.exp(0.3 * float(mean[0, 0] @ key)) for key in keys[0, 0]]
    expected = torch.tensor(weights) / sum(weights)
    torch.testing.assert_close(expected_attention(keys, mean, None, 0.3)[0, 0], expected)


def kept(line, ids):
    with paretolm.recipe(line).apply(tiny()) as session, torch.inference_mode():
        stream = session.stream()
        for start in range(0, ids.shape[1], 20):
            stream.read(ids[:, start : start + 20], last=start + 20 >= ids.shape[1])
        return stream.cache.held_layers[1].positions.tolist()


def test_sinks_stay_and_knobs_change_what_stays():
    ids = text(64)
    first = kept("expected-attention(budget=16tok)", ids)
    assert all(head[:4] == [0, 1, 2, 3] and len(head) == 16 for head in first[0])
    others = [
        kept(f"expected-attention(budget=16tok, {knob})", ids)
        for knob in ("use_covariance=False", "use_vnorm=False", "n_future_positions=1", "n_sink=0")
    ]
    assert all(other != first for other in others)


def test_bytes_are_as_predicted_and_the_queries_of_the_prompt_are_gone():
    lm, recipe = tiny(), paretolm.recipe("expected-attention(budget=25%)")
    with recipe.apply(lm) as session, torch.inference_mode():
        stream = session.stream()
        stream.read(text(64), last=True)
        assert stream.held == [16, 16]
        assert stream.kv_bytes in recipe.cost(lm.view, 64).kv_bytes
        assert stream.index_bytes == 0
        assert session.counters["expected-attention"]["tokens_evicted"] == 2 * 48


def test_a_budget_within_the_sinks_is_refused():
    with pytest.raises(RecipeError, match="n_sink=4 leaves nothing of budget=4tok"):
        ExpectedAttention(budget=Budget(4, "tok"))
