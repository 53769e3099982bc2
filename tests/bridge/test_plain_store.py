"""Exact tensors: order, tight storages, clones that share."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paretolm.bridge.bytes import held_bytes
from paretolm.bridge.plain_store import PlainStore


def filled(*shapes, dtype=torch.float32):
    store, parts = PlainStore(), [torch.randn(shape, dtype=dtype) for shape in shapes]
    for part in parts:
        store.append(part)
    return store, torch.cat(parts, dim=2)


@given(st.data())
def test_any_sequence_of_calls_equals_lists_of_rows(data):
    batch, heads, dim = (data.draw(st.integers(1, 3), label) for label in ("batch", "heads", "dim"))
    store, rows = filled((batch, heads, 5, dim))
    twin = [[list(rows[b, h]) for h in range(heads)] for b in range(batch)]
    for _ in range(data.draw(st.integers(0, 4))):
        if data.draw(st.booleans()):
            new = torch.randn(batch, heads, data.draw(st.integers(0, 3)), dim)
            store.append(new)
            for b in range(batch):
                for h in range(heads):
                    twin[b][h].extend(new[b, h])
        else:
            n = store.length
            m = data.draw(st.integers(1, n))
            one_row, one_head = data.draw(st.booleans()), data.draw(st.booleans())
            shape = (1 if one_row else batch, 1 if one_head else heads)
            index = torch.rand(*shape, n).argsort(-1)[..., :m].sort(-1).values
            store.keep(index)
            every = index.expand(batch, heads, m)
            twin = [[[twin[b][h][i] for i in every[b, h].tolist()] for h in range(heads)] for b in range(batch)]
    expected = torch.stack([torch.stack([torch.stack(column) for column in row]) for row in twin])
    assert torch.equal(store.read(), expected)
    assert held_bytes(store.tensors()) == expected.nbytes


def test_a_view_of_a_larger_tensor_is_copied():
    store = PlainStore()
    store.append(torch.randn(1, 3, 8, 4)[:, 1:2])
    store.keep(torch.arange(3).view(1, 1, -1))
    assert held_bytes(store.tensors()) == 3 * 4 * 4


def test_a_whole_tensor_is_held_without_a_copy():
    x, store = torch.randn(1, 2, 3, 4), PlainStore()
    store.append(x)
    assert next(iter(store.tensors())) is x


def test_a_clone_shares_until_one_of_them_changes():
    store, rows = filled((2, 1, 4, 2))
    twin = store.clone()
    assert held_bytes([*store.tensors(), *twin.tensors()]) == rows.nbytes
    twin.append(torch.zeros(2, 1, 1, 2))
    twin.select_rows(torch.tensor([1, 1, 0]))
    assert torch.equal(store.read(), rows)
    assert torch.equal(twin.read()[:, :, :4], rows[[1, 1, 0]])


def test_an_empty_store_holds_nothing():
    store = PlainStore()
    store.select_rows(torch.tensor([0]))
    assert store.length == 0
    assert held_bytes(store.tensors()) == 0
    with pytest.raises(AssertionError):
        store.read()


def test_dtype_stays():
    assert filled((1, 1, 2, 2), (1, 1, 1, 2), dtype=torch.bfloat16)[0].read().dtype is torch.bfloat16
