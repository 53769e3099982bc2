"""LongHeads' chunks by hand and against loops; distances, bytes, and blocks of queries against as large forwards."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paretolm
from paretolm.errors import ConflictError, RecipeError
from paretolm.methods.attend.select.longheads import ChunkHeads, LongHeads, chosen_entries, rank_bands, representative
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.attend.select.chunks import FakeContext, FakeHeld, logits_of, step, tensors

LAWS = LawSpec(neutral="longheads", acts="longheads(attn_length=32, chunk_size=4, query_block=8)")
TOLERANCE = 1e-5


def test_the_first_the_best_and_the_newest_chunks():
    """Chunks of 2 in 11 entries, room for 7: the first chunk, the best of chunks 1 to 3, and all from entry 8 on."""
    scores = torch.tensor([[[9.0, 1.0, 3.0, 2.0, 99.0], [0.0, 5.0, 3.0, 2.0, 99.0]]])
    found = chosen_entries(scores, tail=8, length=11, chunk=2, budget=7)
    assert found.tolist() == [[[0, 1, 4, 5, 8, 9, 10], [0, 1, 2, 3, 8, 9, 10]]]


def test_what_is_read_is_counted_through():
    (near,) = rank_bands(torch.tensor([[6, 7]]), torch.arange(8)[None, None], length=8)
    assert near.query_positions.tolist() == [[6, 7]]
    (band,) = rank_bands(torch.tensor([[20, 21]]), torch.tensor([[[0, 1, 8, 9, 20, 21]]]), length=8)
    assert band.query_positions.tolist() == [[4, 5]]
    assert band.key_positions.tolist() == [[[0, 1, 2, 3, 4, 5]]]


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(0, 99))
def test_a_chunk_stands_where_its_mean_query_looks(num, size, seed):
    queries, keys = tensors(num * size, num * size, seed=seed)
    ours = representative(queries.unflatten(2, (num, size)), keys.unflatten(2, (num, size)))
    for head in range(2):
        for chunk in range(num):
            rows = slice(chunk * size, (chunk + 1) * size)
            mean = queries[0, 2 * head : 2 * head + 2, rows].mean((0, 1))
            weights = [math.exp(float(mean @ key) / math.sqrt(len(mean))) for key in keys[0, head, rows]]
            twin = sum(w * key for w, key in zip(weights, keys[0, head, rows], strict=True)) / sum(weights)
            torch.testing.assert_close(ours[0, head, chunk], twin, atol=TOLERANCE, rtol=0)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=40), st.integers(0, 99))
def test_no_distance_is_beyond_the_length_and_near_ones_are_true(sizes, seed):
    queries, keys = tensors(sum(sizes), sum(sizes), seed=seed)
    part, seen = ChunkHeads(FakeContext(), length=16, size=3, block=4), 0
    for num in sizes:
        held = FakeHeld(keys[:, :, : seen + num], seen)
        index = part.select(queries[:, :, seen : seen + num], held, step(num, seen))
        own = torch.arange(seen, seen + num)[None]
        read = torch.arange(seen + num)[None, None] if index is None else index
        assert index is None or read.shape[-1] <= 16
        (band,) = rank_bands(own, read, 16)
        distance = band.query_positions[:, None, :, None] - band.key_positions[:, :, None]
        assert int(distance.max()) < 16
        true = own[:, None, :, None] - read[:, :, None]
        near = (true >= 0) & (true <= 3)  # the query's own chunk and the one before
        assert torch.equal(distance.expand_as(true)[near], true[near])
        seen += num


def test_queries_of_a_block_choose_together_however_long_the_forward_is():
    blocks, counts = logits_of(LAWS.acts, 8)
    assert counts["entries_unread"] > 0
    whole, also = logits_of(LAWS.acts, 56)
    torch.testing.assert_close(whole, blocks, atol=1e-4, rtol=0)
    assert also == counts
    single, _ = logits_of(LAWS.acts, 1)
    assert float((single - blocks).abs().max()) > 1e-3


def test_a_long_prompt_is_read_block_by_block():
    logits = []
    for size in (8, 80):
        with paretolm.recipe(LAWS.acts).apply(tiny()) as session, torch.inference_mode():
            stream = session.stream()
            for start in range(0, 80, size):
                out = stream.read(text(80)[:, start : start + size], last=start + size >= 80)
            logits.append(out.logits[:, -8:])
    torch.testing.assert_close(*logits, atol=1e-4, rtol=0)


def test_everything_is_held_and_vectors_are_as_predicted():
    lm, recipe = tiny(), paretolm.recipe(LAWS.acts)
    with recipe.apply(lm) as session, torch.inference_mode():
        stream = session.stream()
        stream.read(text(59), last=True)
        assert stream.held == [59, 59]
        assert stream.kv_bytes in recipe.cost(lm.view, 59).kv_bytes
        assert stream.index_bytes in recipe.cost(lm.view, 59).index_bytes


def test_no_eviction_stands_beside_it():
    with pytest.raises(ConflictError, match="longheads"):
        paretolm.recipe(f"{LAWS.acts} + h2o").apply(tiny()).__enter__()


@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [
        ({"attn_length": 32, "chunk_size": 8}, "has no room for the first chunk"),
        ({"attn_length": 256, "query_block": 8}, "beyond the trained length 128"),
    ],
)
def test_lengths_that_contradict_are_refused(knobs, sentence):
    with pytest.raises(RecipeError, match=sentence):
        list(LongHeads(**knobs).plan(tiny().view))
