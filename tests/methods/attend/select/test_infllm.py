"""InfLLM's memory of blocks against a loop, distances by hand, and windows of queries against as large forwards."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paretolm
from paretolm.errors import ConflictError, RecipeError
from paretolm.methods.attend.select._blocks import BlockLookup, Sizes, entries_read, represent
from paretolm.methods.attend.select._far import far_bands
from paretolm.methods.attend.select.infllm import InfLLM
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.attend.select.chunks import FakeContext, FakeHeld, logits_of, step, tensors
from tests.methods.keep.banded import banded_logits, causal, random_rows, rope

SMALL = "n_init=2, n_local=16, block_size=4, topk=2, repr_topk=2, exc_block_size=8"
LAWS = LawSpec(neutral="infllm(n_local=128)", acts=f"infllm({SMALL})")
TOLERANCE = 1e-5


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(0, 12), st.integers(2, 7))
def test_far_keys_stand_at_the_limit_and_near_ones_where_they_are(num, before, limit):
    n = num + before
    q, k, _ = random_rows(n)
    queries, keys = torch.arange(before, n), torch.arange(n)
    bands = far_bands(queries[None], keys[None, None], limit)
    ours = banded_logits(q[queries], k, bands, causal(queries, keys))
    for i, at in enumerate(queries.tolist()):
        for j in range(at + 1):
            distance = torch.tensor([min(at - j, limit)])
            twin = (rope(q[at : at + 1], distance) @ k[j]).item()
            assert abs(float(ours[i, j]) - twin) < 1e-9


def test_what_got_most_attention_stands_for_a_block():
    keys = torch.tensor([[1.0, 0.0], [3.0, 2.0], [5.0, 6.0]])[None, None]
    assert represent(keys, torch.tensor([[[0.5, 0.1, 0.4]]]), 2).tolist() == [[[3.0, 3.0]]]


def test_first_entries_picked_blocks_and_all_behind_the_last():
    found = entries_read(torch.tensor([[0, 2]]), Sizes(1, 4, 2, 1), blocks=3, length=9)
    assert found.tolist() == [[[0, 1, 2, 5, 6, 7, 8]]]


def loop(queries, keys, sizes, topk, windows):
    """Entries each window reads: one query, head and key at a time; turned as if the text began anew at each key."""
    heads, group = keys.shape[1], queries.shape[1] // keys.shape[1]
    turn = FakeHeld(keys, 0).turned
    received, vectors, found, seen = [[0.0] * keys.shape[2] for _ in range(heads)], [], [], 0
    for num in windows:
        while len(vectors) < max(0, seen - sizes.n_init - sizes.n_local) // sizes.block_size:
            start = sizes.n_init + len(vectors) * sizes.block_size
            entries = range(start, start + sizes.block_size)
            vector = []
            for h in range(heads):
                kept = sorted(entries, key=lambda e, h=h: received[h][e])[-sizes.repr_topk :]
                rows = [turn(keys[:, :, [e]], torch.tensor([[[-e]]]))[0, h, 0] for e in kept]
                vector.append(sum(rows) / len(rows))
            vectors.append(vector)
        own = range(seen, seen + num)
        moved = [turn(queries[:, :, [t]], torch.tensor([[[sizes.n_local - t]]]))[0, :, 0] for t in own]
        probe = sum(moved) / num
        score = [sum(float(probe[h * group + g] @ v[h]) for h in range(heads) for g in range(group)) for v in vectors]
        picked = sorted(range(len(score)), key=score.__getitem__)[-topk:] if score else []
        far = [sizes.n_init + b * sizes.block_size + i for b in sorted(picked) for i in range(sizes.block_size)]
        rest = range(sizes.n_init + len(vectors) * sizes.block_size, seen + num)
        found.append(sorted({*range(min(sizes.n_init, seen + num)), *far, *rest}))
        for t in own:
            window = range(max(0, t - sizes.n_local + 1), t + 1)
            for h in range(heads):
                for query in queries[0, h * group : (h + 1) * group, t]:
                    weights = [math.exp(float(query @ keys[0, h, j]) / math.sqrt(len(query))) for j in window]
                    for j, weight in zip(window, weights, strict=True):
                        received[h][j] += weight / sum(weights)
        seen += num
    return found


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=12), st.integers(0, 3), st.integers(4, 6), st.integers(1, 3),
    st.integers(1, 3), st.integers(0, 99),
)  # fmt: skip
def test_equals_a_loop_over_windows(windows, n_init, n_local, block_size, topk, seed):
    sizes = Sizes(n_init, n_local, block_size, repr_topk=1)
    queries, keys = tensors(sum(windows), sum(windows), seed=seed)
    part, found, seen = BlockLookup(FakeContext(), sizes, 4, topk), [], 0
    for num in windows:
        held = FakeHeld(keys[:, :, : seen + num], seen)
        index = part.select(queries[:, :, seen : seen + num], held, step(num, seen))
        found.append(list(range(seen + num)) if index is None else index[0, 0].tolist())
        seen += num
    assert found == loop(queries, keys, sizes, topk, windows)


def test_queries_of_a_window_look_up_together_however_long_the_forward_is():
    windows, counts = logits_of(LAWS.acts, 8)
    assert counts["entries_unread"] > 0
    whole, also = logits_of(LAWS.acts, 56)
    torch.testing.assert_close(whole, windows, atol=1e-4, rtol=0)
    assert also == counts


def test_everything_is_held_and_what_lies_beside_is_in_the_prediction():
    lm, recipe = tiny(), paretolm.recipe(LAWS.acts)
    with recipe.apply(lm) as session, torch.inference_mode():
        stream = session.stream()
        stream.read(text(80), last=True)
        assert stream.held == [80, 80]
        assert stream.kv_bytes in recipe.cost(lm.view, 80).kv_bytes
        assert 0 < stream.index_bytes <= recipe.cost(lm.view, 80).index_bytes.high


def test_no_eviction_stands_beside_it():
    with pytest.raises(ConflictError, match="infllm"):
        paretolm.recipe(f"{LAWS.acts} + h2o").apply(tiny()).__enter__()


@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [
        ({"repr_topk": 9, "block_size": 8}, "cannot stand for a block"),
        ({"n_local": 256}, "beyond the trained length 128"),
        ({"n_local": 16, "exc_block_size": 32}, "do not fit into their own window"),
    ],
)
def test_sizes_that_contradict_are_refused(knobs, sentence):
    with pytest.raises(RecipeError, match=sentence):
        list(InfLLM(**knobs).plan(tiny().view))
