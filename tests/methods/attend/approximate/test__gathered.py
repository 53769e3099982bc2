"""Gathered blocks against a dense softmax under the mask that they stand for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paretolm.methods.attend.approximate._gathered import Reads, Tiling, attend
from tests.methods.attend.approximate.masked import dense, mask_of


def drawn(tiling, num, columns, seed):
    """A random choice of earlier blocks, and of columns, for one head."""
    make = torch.Generator().manual_seed(seed)
    rows = []
    for own in tiling.own(torch.device("cpu")).tolist():
        before = torch.randperm(own * tiling.per_block, generator=make)[:num]
        rows.append(torch.nn.functional.pad(before, (0, num - len(before)), value=-1))
    some = torch.randperm(tiling.length, generator=make)[:columns].sort().values
    return Reads(torch.stack(rows), some if columns else None)


@settings(deadline=None)
@given(st.data())
def test_blocks_and_columns_equal_a_dense_softmax_under_their_mask(data):
    key_block = data.draw(st.integers(1, 4))
    query_block = key_block * data.draw(st.integers(1, 3))
    length = data.draw(st.integers(1, 40))
    size = data.draw(st.integers(1, length))
    batch, kv_heads, groups = data.draw(st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 2)))
    tiling = Tiling(size, length, query_block, key_block)
    heads = kv_heads * groups
    num, columns = data.draw(st.integers(0, 5)), data.draw(st.integers(0, min(4, length)))
    reads = [drawn(tiling, num, columns, seed) for seed in range(batch * heads)]
    make = torch.Generator().manual_seed(0)
    queries = torch.randn(batch, heads, size, 5, generator=make)
    keys, values = (torch.randn(batch, kv_heads, length, w, generator=make) for w in (5, 3))
    found, pairs = attend(queries, keys, values, reads, tiling, 0.3)
    mask = torch.stack([mask_of(read, tiling) for read in reads]).unflatten(0, (batch, heads))
    torch.testing.assert_close(found, dense(queries, keys, values, mask, 0.3), atol=1e-5, rtol=1e-4)
    assert pairs == int(mask.sum())


def test_a_head_computed_a_few_blocks_at_a_time_is_the_same(monkeypatch):
    tiling = Tiling(37, 41, 4, 2)
    reads = [drawn(tiling, 3, 2, seed) for seed in range(2)]
    queries, keys, values = torch.randn(1, 2, 37, 4), torch.randn(1, 1, 41, 4), torch.randn(1, 1, 41, 4)
    whole, _ = attend(queries, keys, values, reads, tiling, 0.5)
    monkeypatch.setattr("paretolm.methods.attend.approximate._gathered.SCORES_AT_ONCE", 1)
    torch.testing.assert_close(attend(queries, keys, values, reads, tiling, 0.5)[0], whole)


@pytest.mark.parametrize("size", [1, 8, 64])
def test_without_other_blocks_each_query_reads_its_own_block(size):
    """By hand: with equal keys every query is the mean of its block's values up to it."""
    values = torch.arange(64.0)[None, None, :, None]
    tiling = Tiling(size, 64, 8, 8)
    reads = [Reads(torch.full((tiling.num_blocks, 0), -1))]
    found, _ = attend(torch.randn(1, 1, size, 2), torch.zeros(1, 1, 64, 2), values, reads, tiling, 1.0)
    expected = [(i // 8 * 8 + i) / 2 for i in range(64 - size, 64)]
    assert found.flatten().tolist() == pytest.approx(expected)
