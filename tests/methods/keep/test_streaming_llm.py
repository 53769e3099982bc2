"""Positions inside the cache against the published roll, which re-numbers the held keys at every step."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paretolm
from paretolm.errors import RecipeError
from paretolm.methods.keep._window import equal_rows, in_window, still_seen
from paretolm.methods.keep.streaming_llm import StreamingLLM, rank_bands
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.keep.banded import attend, banded_logits, causal, random_rows, rope
from tests.methods.keep.fakes import padded, positions

LAWS = LawSpec(neutral="streaming-llm(sinks=4, window=124)", acts="streaming-llm(sinks=4, window=20)")
TOLERANCE = 1e-10


def published_roll(q, k, v, start_size, recent_size):
    """One token at a time, as the official code: the held keys (before RoPE) get positions 0, 1, ... again."""
    keys, values, outputs = k[:0], v[:0], []
    for t in range(len(q)):
        keys, values = torch.cat([keys, k[t : t + 1]]), torch.cat([values, v[t : t + 1]])
        rank = torch.arange(len(keys))
        logits = rope(q[t : t + 1], rank[-1:]) @ rope(keys, rank).T
        outputs.append(attend(logits, values))
        if len(keys) > start_size + recent_size:
            stay = [*range(start_size), *range(len(keys) - recent_size, len(keys))]
            keys, values = keys[stay], values[stay]
    return torch.cat(outputs)


@settings(deadline=None)
@given(st.integers(0, 5), st.integers(2, 9), st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_chunks_equal_the_published_roll(sinks, window, chunks):
    total = sum(chunks)
    q, k, v = random_rows(total)
    held, outputs, seen = positions([]), [], 0
    for size in chunks:
        queries = torch.arange(seen, seen + size)
        held = torch.cat([held, queries.int()[None, None]], -1)
        columns = held[0, 0].long()
        visible, allowed = in_window(queries[None], held, sinks, window), causal(queries, columns)
        if visible is not None:
            allowed = allowed & visible[0, 0]
        bands = rank_bands(queries[None], held, sinks, window)
        outputs.append(attend(banded_logits(q[queries], k[columns], bands, allowed), v[columns]))
        index, seen = equal_rows(still_seen(held, sinks, window)), seen + size
        held = held if index is None else held.gather(-1, index)
    expected = published_roll(q, k, v, start_size=sinks, recent_size=window - 1)
    torch.testing.assert_close(torch.cat(outputs), expected, atol=TOLERANCE, rtol=0)


def test_a_padded_row_is_read_as_alone():
    sinks, window, rows = 2, 4, (12, 9)
    held, queries = padded(12, *rows), torch.stack([torch.arange(12), torch.arange(12) - 3])
    bands, visible = rank_bands(queries, held, sinks, window), in_window(queries, held, sinks, window)
    for row, length in enumerate(rows):
        q, k, v = random_rows(length, seed=row)
        pad = torch.zeros(12 - length, 6, dtype=torch.float64)
        allowed = causal(queries[row], held[row, 0]) & visible[row, 0]
        logits = banded_logits(torch.cat([pad, q]), torch.cat([pad, k]), bands, allowed, row)
        ours = attend(logits[-length:], torch.cat([pad, v]))
        torch.testing.assert_close(ours, published_roll(q, k, v, sinks, window - 1), atol=TOLERANCE, rtol=0)


def test_the_example_of_the_paper():
    """Figure 4: with 4 sinks and 6, 7, 8 held, token 9 is read at positions 0 to 7."""
    held, query = positions([0, 1, 2, 3, 6, 7, 8, 9]), torch.tensor([[9]])
    sinks, rest = rank_bands(query, held, sinks=4, window=4)
    assert (sinks.query_positions - sinks.key_positions).tolist() == [[[7, 6, 5, 4]]]
    assert (rest.query_positions - rest.key_positions).tolist() == [[[3, 2, 1, 0]]]


def test_a_text_within_the_cache_has_its_original_positions():
    keys, queries = positions(range(8)), torch.arange(8)[None]
    (band,) = rank_bands(queries, keys, sinks=4, window=4)
    assert band.query_positions is queries
    assert band.key_positions is keys


def test_holds_the_predicted_bytes_and_counts_what_left():
    lm, recipe = tiny(), paretolm.recipe("streaming-llm(sinks=4, window=20)")
    with recipe.apply(lm) as session, torch.inference_mode():
        stream = session.stream()
        stream.read(text(96), last=True)
        assert stream.held == [23, 23]
        assert stream.kv_bytes in recipe.cost(lm.view, 96).kv_bytes
        assert session.counters["streaming-llm"]["tokens_evicted"] == 2 * (96 - 23)


@pytest.mark.parametrize("knobs", [{"sinks": -1}, {"window": 1}])
def test_knobs_out_of_range_are_refused(knobs):
    with pytest.raises(RecipeError, match="streaming-llm"):
        StreamingLLM(**knobs)
