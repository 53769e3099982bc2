"""The sliding window: what is seen, what is held, and a model with sliding layers as the outside authority."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import paretolm
from paretolm.contracts import Observed
from paretolm.errors import RecipeError
from paretolm.methods.keep._window import WindowKeep, equal_rows, in_window, num_dropped, still_seen
from paretolm.methods.keep.window import Window
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.keep.fakes import FakeContext, FakeHeld, padded, positions

LAWS = LawSpec(neutral="window(window=128)", acts="window(window=24)")
TOLERANCE = 2e-5
NOTHING = Observed(None, None, None, 1.0)


def naive_visible(queries, keys, first, window):
    return [[k < first or q - k < window for k in keys] for q in queries]


@given(st.integers(0, 5), st.integers(2, 9), st.integers(1, 30), st.integers(1, 8))
def test_visible_equals_a_loop(first, window, length, new):
    keys, queries = list(range(length)), list(range(length - min(new, length), length))
    seen = in_window(torch.tensor([queries]), positions(keys), first, window)
    wanted = naive_visible(queries, keys, first, window)
    causal = [[k <= q for k in keys] for q in queries]
    got = torch.ones(len(queries), length, dtype=torch.bool) if seen is None else seen[0, 0]
    assert (got & torch.tensor(causal)).tolist() == (torch.tensor(wanted) & torch.tensor(causal)).tolist()
    if seen is None:
        assert all(w or not c for ws, cs in zip(wanted, causal, strict=True) for w, c in zip(ws, cs, strict=True))


@given(
    st.integers(0, 4),
    st.integers(2, 9),
    st.lists(st.integers(1, 4), min_size=1, max_size=20),
    st.lists(st.integers(0, 6), min_size=1, max_size=3),
)
def test_chunk_by_chunk_each_row_holds_what_the_row_alone_needs(first, window, chunks, missing):
    """Rows of a left-padded batch: `missing` tokens fewer than the longest."""
    context, held, total = FakeContext(), None, sum(chunks)
    part, seen = WindowKeep(context, first, window), 0
    padding = [min(m, total - 1) - min(*missing, total - 1) for m in missing]
    for size in chunks:
        columns = range(seen, seen + size)
        new = positions(*([max(c - p, -1) for c in columns] for p in padding))
        held, seen = new if held is None else torch.cat([held, new], -1), seen + size
        kept = part.settle(FakeHeld(held, seen), NOTHING, None)
        held = held if kept is None else held.gather(-1, kept.index.expand(len(padding), 1, -1))
    for row, p in enumerate(padding):
        real = total - p
        needed = [k for k in range(real) if k < first or real - k < window]
        assert [k for k in held[row, 0].tolist() if k >= 0] == needed
    assert context.counts["tokens_evicted"] >= total - held.shape[-1] - max(padding)


def test_shorter_rows_fill_up_with_padding():
    batch = padded(6, 6, 2)
    index = equal_rows(still_seen(batch, 0, 4))
    assert batch.gather(-1, index).tolist() == [[[3, 4, 5]], [[-1, 0, 1]]]
    assert num_dropped(batch, index) == 3


def test_dropping_only_padding_is_no_eviction():
    batch = padded(6, 4, 3)
    index = equal_rows(still_seen(batch, 0, 9))
    assert index.shape[-1] == 4
    assert num_dropped(batch, index) == 0


def test_nothing_hidden_needs_no_mask():
    assert in_window(torch.tensor([[7]]), positions([4, 5, 6, 7]), 0, 4) is None
    assert in_window(torch.tensor([[7]]), positions([3, 4, 5, 6, 7]), 0, 4) is not None


def test_equals_the_sliding_layers_of_mistral():
    ids = text(64)
    with torch.inference_mode():
        native = tiny("mistral_sliding").model(ids).logits
        with paretolm.recipe("window(window=16)").apply(tiny("mistral")) as session:
            stream = session.stream()
            ours = torch.cat([stream.read(ids[:, i : i + 20], last=i == 60).logits for i in range(0, 64, 20)], 1)
            assert stream.held == [15, 15]
            assert session.counters["window"]["tokens_evicted"] == 2 * (64 - 15)
    torch.testing.assert_close(ours, native, atol=TOLERANCE, rtol=0)


def test_a_window_that_sees_only_itself_is_refused():
    with pytest.raises(RecipeError, match="window must be at least 2"):
        Window(window=1)
