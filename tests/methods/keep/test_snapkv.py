"""SnapKV's votes, pooling and choice against loops and by hand; rows of a batch against the row alone."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paretolm
from paretolm.contracts import Budget, Moment, Observed, Step
from paretolm.errors import RecipeError
from paretolm.methods.keep.snapkv import SnapKV, SnapKVKeep, select, smooth, window_votes
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.keep.fakes import FakeContext, FakeHeld, padded, positions

LAWS = LawSpec(neutral="snapkv(budget=100%)", acts="snapkv(budget=25%, window_size=8)")
TOLERANCE = 1e-5


def tensors(w, n, heads=2, group=2, batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn(batch, heads * group, w, 4, generator=generator)
    return queries, torch.randn(batch, heads, n, 4, generator=generator)


def loop_votes(queries, keys, scaling):
    """One pair at a time."""
    group, w, n = queries.shape[1] // keys.shape[1], queries.shape[2], keys.shape[2]
    votes = torch.zeros(*keys.shape[:2], n - w)
    for b in range(keys.shape[0]):
        for head in range(queries.shape[1]):
            for i in range(w):
                seen = range(n - w + i + 1)
                weights = [math.exp(scaling * float(queries[b, head, i] @ keys[b, head // group, j])) for j in seen]
                for j in range(n - w):
                    votes[b, head // group, j] += weights[j] / sum(weights) / group
    return votes


def loop_smooth(row, kernel_size, pooling):
    half, padded_row = kernel_size // 2, row.tolist()
    windows = [padded_row[max(0, j - half) : j + half + 1] for j in range(len(padded_row))]
    return [sum(w) / kernel_size if pooling == "avgpool" else max(w) for w in windows]


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 2), st.integers(0, 99))
def test_votes_equal_a_loop_over_pairs(w, prefix, batch, seed):
    queries, keys = tensors(w, w + prefix, batch=batch, seed=seed)
    ours, twin = window_votes(queries, keys, 0.5), loop_votes(queries, keys, 0.5)
    torch.testing.assert_close(ours, twin, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("pooling", ["avgpool", "maxpool"])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("length", [1, 2, 7])
def test_pooling_equals_a_loop(pooling, kernel_size, length):
    votes = torch.rand(1, 2, length, generator=torch.Generator().manual_seed(length))
    twin = torch.tensor([[loop_smooth(row, kernel_size, pooling) for row in votes[0]]])
    torch.testing.assert_close(smooth(votes, kernel_size, pooling), twin, atol=TOLERANCE, rtol=0)


def test_by_hand():
    """One query that points at key 4 of 8: with kernel 3 its neighbours come along, then the window."""
    keys = torch.zeros(1, 1, 8, 4)
    keys[0, 0, 4, 0] = 10.0
    queries = torch.tensor([1.0, 0, 0, 0]).expand(1, 1, 1, 4)
    assert select(queries, keys, 1.0, capacity=4, kernel_size=3, pooling="maxpool").tolist() == [[[3, 4, 5, 7]]]
    assert select(queries, keys, 1.0, capacity=2, kernel_size=1).tolist() == [[[4, 7]]]


def test_equal_votes_keep_the_later_keys():
    queries, keys = torch.zeros(1, 2, 2, 4), torch.zeros(1, 1, 8, 4)
    assert select(queries, keys, 1.0, capacity=4, kernel_size=1).tolist() == [[[4, 5, 6, 7]]]


def settle(method, queries, keys, held, padding=None, moment=Moment.PREFILL_END):
    part = SnapKVKeep(FakeContext(), method)
    step = Step(None, torch.zeros(1, 1), moment, seen=0, padding=padding)
    shown = Observed(queries[:, :, -method.window_size :], None, None, 0.5)
    return part, part.settle(FakeHeld(held, held.shape[-1], keys), shown, step)


@settings(deadline=None)
@given(
    st.lists(st.integers(5, 16), min_size=2, max_size=3),
    st.sampled_from([Budget(6, "tok"), Budget(80, "%")]),
    st.integers(0, 9),
)
def test_rows_of_a_padded_batch_keep_what_each_keeps_alone(lengths, budget, seed):
    n, method = max(lengths), SnapKV(budget=budget, window_size=3)
    queries, keys = tensors(n, n, batch=len(lengths), seed=seed)
    held, padding = padded(n, *lengths), torch.tensor([n - length for length in lengths])
    _, kept = settle(method, queries, keys, held, padding)
    index = torch.arange(n).expand(len(lengths), 2, n) if kept is None else kept.index
    together = held.expand(-1, 2, -1).gather(-1, index)
    for row, length in enumerate(lengths):
        one = slice(row, row + 1)
        own = positions(range(length))
        _, alone = settle(method, queries[one, :, -length:], keys[one, :, -length:], own)
        expected = own.expand(-1, 2, -1) if alone is None else own.expand(-1, 2, -1).gather(-1, alone.index)
        assert [[p for p in head if p >= 0] for head in together[row].tolist()] == expected[0].tolist()


def test_acts_once_at_the_end_of_the_prompt():
    queries, keys = tensors(16, 16)
    method = SnapKV(budget=Budget(8, "tok"), window_size=4)
    for moment in (Moment.PREFILL, Moment.DECODE):
        part, kept = settle(method, queries, keys, positions(range(16)), moment=moment)
        assert kept is None
    part, kept = settle(method, queries, keys, positions(range(16)))
    assert kept.index.shape == (1, 2, 8)
    assert kept.index[..., -4:].tolist() == [[[12, 13, 14, 15]] * 2]
    assert part.ctx.counts["tokens_evicted"] == 8


def test_what_is_generated_stays_and_chunks_do_not_matter():
    lm, recipe, ids = tiny(), paretolm.recipe("snapkv(budget=25%, window_size=8)"), text(64)
    results = []
    for chunk in (7, 48):
        with recipe.apply(lm) as session, torch.inference_mode():
            stream = session.stream()
            for start in range(0, 48, chunk):
                stream.read(ids[:, start : min(start + chunk, 48)], last=start + chunk >= 48)
            assert stream.held == [12, 12]
            assert stream.kv_bytes in recipe.cost(lm.view, 48).kv_bytes
            results.append(torch.cat([stream.step(ids[:, t : t + 1]).logits for t in range(48, 64)], 1))
            assert stream.held == [28, 28]
            assert session.counters["snapkv"]["tokens_evicted"] == 2 * 36
    torch.testing.assert_close(*results, atol=1e-4, rtol=0)


def test_a_short_prompt_stays_whole():
    with paretolm.recipe("snapkv(budget=64tok)").apply(tiny()) as session, torch.inference_mode():
        session.stream().read(text(64), last=True)
        assert session.last_stream.held == [64, 64]
        assert session.idle == ["snapkv"]


def test_where_the_budget_is_less_than_two_windows_the_window_shrinks_to_half_of_it():
    with paretolm.recipe("snapkv(budget=25%)").apply(tiny()) as session, torch.inference_mode():
        stream = session.stream()
        stream.read(text(96), last=True)
        kept = stream.cache.held_layers[0].positions
    assert stream.held == [24, 24]
    assert kept[..., -12:].flatten().unique().tolist() == list(range(84, 96))


@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [
        ({"budget": Budget(32, "tok")}, "leaves nothing of budget=32tok"),
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"pooling": "sum"}, "pooling is one of avgpool, maxpool"),
        ({"window_size": 0}, "window_size must be at least 1"),
    ],
)
def test_knobs_that_contradict_are_refused(knobs, sentence):
    with pytest.raises(RecipeError, match=sentence):
        SnapKV(**knobs)
