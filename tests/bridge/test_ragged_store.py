"""The ragged store against lists of lists: one list a head."""

import random
from itertools import compress

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paretolm.bridge.bytes import held_bytes
from paretolm.bridge.ragged_store import RaggedStore

ROWS, HEADS, WIDTH = 2, 3, 2


def entries(n, seed=0):
    return torch.randn(ROWS, HEADS, n, WIDTH, generator=torch.Generator().manual_seed(seed))


def lists(x):
    return [[list(head) for head in row] for row in x]


def check(store, twin):
    n = max(len(head) for row in twin for head in row)
    assert store.length == n
    for row, heads in zip(store.read(), twin, strict=True):
        for head, own in zip(row, heads, strict=True):
            filled = torch.stack([torch.zeros(WIDTH)] * (n - len(own)) + own)
            assert torch.equal(head, filled)
    total = sum(len(head) for row in twin for head in row)
    assert held_bytes(store.tensors()) == total * WIDTH * 4


def columns(flags, length):
    """What a method would say: the columns of the kept entries, -1 in front of a head that keeps fewer."""
    named = [[[length - len(own) + i for i, kept in enumerate(own) if kept] for own in heads] for heads in flags]
    m = max(len(own) for heads in named for own in heads)
    return torch.tensor([[[-1] * (m - len(own)) + own for own in heads] for heads in named])


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(0, 99))
def test_equals_lists(n, seed):
    """Entries are dropped head by head, others join at the end, and are dropped again."""
    chance = random.Random(seed)
    x = entries(n, seed)
    store, twin = RaggedStore(x), lists(x)
    for turn in range(3):
        flags = [[[chance.random() < 0.6 for _ in own] for own in heads] for heads in twin]
        flags[0][0][0] = True  # something is left
        store.keep(columns(flags, store.length))
        twin = [
            [list(compress(own, kept)) for own, kept in zip(*pair, strict=True)]
            for pair in zip(twin, flags, strict=True)
        ]
        check(store, twin)
        new = entries(2, seed=turn)
        store.append(new)
        twin = [[own + list(more) for own, more in zip(*pair, strict=True)] for pair in zip(twin, new, strict=True)]
        check(store, twin)


def test_rows_follow_the_batch_and_a_clone_stays_as_it_was():
    x = entries(3)
    store = RaggedStore(x)
    store.keep(torch.tensor([[[-1, 0], [1, 2], [-1, 2]]]))
    before, clone = store.read(), store.clone()
    store.select_rows(torch.tensor([1, 1, 0]))
    assert torch.equal(store.read(), before[[1, 1, 0]])
    assert store.rows == 3
    assert torch.equal(clone.read(), before)


def test_columns_are_read_as_they_are_numbered():
    x = torch.arange(6).view(1, 2, 3)
    store = RaggedStore(x, fill=-1)
    store.keep(torch.tensor([[[-1, 2], [0, 1]]]))
    assert store.read().tolist() == [[[-1, 2], [3, 4]]]
    assert store.read(torch.tensor([[[1], [0]]])).tolist() == [[[2], [3]]]
    store.append(torch.tensor([[[9]]]))  # one position for all heads
    assert store.read().tolist() == [[[-1, 2, 9], [3, 4, 9]]]
