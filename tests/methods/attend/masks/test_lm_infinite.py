"""The Λ mask and the cap on distance against a loop over pairs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paretolm
from paretolm.errors import RecipeError
from paretolm.methods.attend.masks.lm_infinite import LMInfinite, capped_bands
from paretolm.methods.keep._window import equal_rows, in_window, still_seen
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.keep.banded import banded_logits, causal, random_rows, rope
from tests.methods.keep.fakes import padded, positions

LAWS = LawSpec(neutral="lm-infinite", acts="lm-infinite(n_global=4, n_local=20, limit_distance=20)")
TOLERANCE = 1e-10


def pairwise(q, k, queries, keys, n_global, n_local, limit):
    """[Q, n] scores, -inf where hidden: each pair at min(distance, limit)."""
    logits = torch.full((len(queries), len(keys)), float("-inf"), dtype=torch.float64)
    for i, at in enumerate(queries):
        for j, key in enumerate(keys):
            if 0 <= key <= at and (key < n_global or at - key < n_local):
                distance = torch.tensor([min(at - key, limit)])
                logits[i, j] = (rope(q[i : i + 1], distance) @ k[j]).item()
    return logits


@settings(deadline=None)
@given(st.integers(0, 5), st.integers(2, 7), st.integers(0, 4), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_chunks_equal_pairs_at_capped_distances(n_global, n_local, beyond, chunks):
    limit = n_local + beyond
    q, k, _ = random_rows(sum(chunks))
    held, seen = positions([]), 0
    for size in chunks:
        queries = torch.arange(seen, seen + size)
        held = torch.cat([held, queries.int()[None, None]], -1)
        columns, mask = held[0, 0].long(), in_window(queries[None], held, n_global, n_local)
        allowed = causal(queries, columns) if mask is None else causal(queries, columns) & mask[0, 0]
        bands = capped_bands(queries[None], held, n_global, limit)
        ours = banded_logits(q[queries], k[columns], bands, allowed)
        twin = pairwise(q[queries], k[columns], queries.tolist(), columns.tolist(), n_global, n_local, limit)
        torch.testing.assert_close(ours, twin, atol=TOLERANCE, rtol=0)
        index, seen = equal_rows(still_seen(held, n_global, n_local)), seen + size
        held = held if index is None else held.gather(-1, index)


def test_rows_of_a_padded_batch_are_capped_each_by_its_own_positions():
    held, queries = padded(10, 10, 7), torch.stack([torch.arange(10), torch.arange(10) - 3])
    bands, mask = capped_bands(queries, held, 2, 4), in_window(queries, held, 2, 4)
    q, k, _ = random_rows(10)
    for row in range(2):
        allowed = causal(queries[row], held[row, 0]) & mask[row, 0]
        twin = pairwise(q, k, queries[row].tolist(), held[row, 0].tolist(), 2, 4, 4)
        torch.testing.assert_close(banded_logits(q, k, bands, allowed, row), twin, atol=TOLERANCE, rtol=0)


def test_far_first_tokens_all_stand_at_the_cap():
    far, near = capped_bands(torch.tensor([[30]]), positions([0, 1, 28, 29, 30]), n_global=2, limit=8)
    assert (far.query_positions - far.key_positions).tolist() == [[[8, 8]]]
    assert (near.query_positions - near.key_positions).tolist() == [[[2, 1, 0]]]


def test_memory_is_flat_and_as_predicted():
    lm, recipe = tiny(), paretolm.recipe("lm-infinite(n_global=4, n_local=20)")
    held = set()
    with recipe.apply(lm) as session, torch.inference_mode():
        stream = session.stream()
        for chunk in text(120).split(8, dim=1)[:-1]:
            stream.read(chunk)
            held.add(stream.held[0])
        assert stream.kv_bytes in recipe.cost(lm.view, stream.seen).kv_bytes
        assert session.counters["lm-infinite"]["tokens_evicted"] == 2 * (stream.seen - 23)
    assert sorted(held) == [8, 16, 23]


def test_a_cap_below_the_local_window_is_refused():
    view = tiny().view
    with pytest.raises(RecipeError, match="limit_distance=10 is below n_local=20"):
        list(LMInfinite(n_local=20, limit_distance=10).plan(view))
    with pytest.raises(RecipeError, match="lower n_local"):
        list(LMInfinite(limit_distance=10).plan(view))
