"""The tree search against the paper's loop, what it finds, and how its work grows."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paretolm.errors import RecipeError
from paretolm.methods.attend.approximate.hip_attention import HipAttention, tree_search
from tests.contract.spec import LawSpec

KNOBS = "query_block=4, key_block=2, window=4, sinks=2"
LAWS = LawSpec(
    neutral=f"hip-attention(k=128, {KNOBS})",
    acts=f"hip-attention(k=4, {KNOBS})",
)


def searched(tile, keys, begin, limit, num, block):
    """The blocks one tile reads, by the definition: ranges as pairs (start, size)."""
    span = max(0, limit - begin)
    edges = [span * i // num + begin for i in range(num + 1)]
    ranges = [(a, b - a) for a, b in itertools.pairwise(edges)]
    while any(size > 1 for _, size in ranges):
        cut = [half for start, size in ranges for half in ((start, size // 2), (start + size // 2, size - size // 2))]
        cut = [half for half in cut if half[1]]
        cut.sort(key=lambda half: -float((tile @ keys[half[0] * block + half[1] * block // 2]).max()))
        ranges = cut[:num]
    return sorted(start for start, size in ranges if size)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 3), st.integers(0, 10**6))
def test_the_search_is_that_of_a_loop(num_blocks, num, begin, seed):
    make = torch.Generator().manual_seed(seed)
    tiles, keys = torch.randn(3, 4, 6, generator=make), torch.randn(2 * num_blocks, 6, generator=make)
    limit = torch.randint(0, num_blocks + 1, (3,), generator=make)
    found, _ = tree_search(tiles, torch.ones(3, 4, dtype=torch.bool), keys, limit, num, 2, begin)
    for row in range(3):
        expected = searched(tiles[row], keys, begin, int(limit[row]), num, 2)
        assert sorted(b for b in found[row].tolist() if b >= 0) == expected


def test_padding_rows_of_a_tile_do_not_judge():
    tiles = torch.tensor([[[0.0, 5.0], [1.0, 0.0]]])
    keys = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    rows = torch.tensor([[False, True]])
    assert tree_search(tiles, rows, keys, torch.tensor([2]), 1)[0].tolist() == [[1]]


def test_smooth_keys_lead_the_search_to_the_best_block():
    """Keys that turn slowly: what is near is alike, as the paper assumes."""
    angle = torch.linspace(0, math.pi, 64)
    keys = torch.stack([angle.cos(), angle.sin()], -1)
    for best in (3, 31, 60):
        found, _ = tree_search(keys[best][None, None], torch.ones(1, 1, dtype=torch.bool), keys, torch.tensor([64]), 4)
        assert best in found[0].tolist()


def test_comparisons_grow_as_the_logarithm():
    def compared(num_blocks):
        keys = torch.randn(num_blocks, 4, generator=torch.Generator().manual_seed(0))
        tile = torch.ones(1, 1, 4)
        return tree_search(tile, torch.ones(1, 1, dtype=torch.bool), keys, torch.tensor([num_blocks]), 8)[1]

    assert [compared(8 * 2**i) for i in range(5)] == [0, 16, 32, 48, 64]


@pytest.mark.parametrize("name", ["k", "query_block", "window", "sinks"])
def test_sizes_that_are_no_whole_blocks_are_refused(name):
    with pytest.raises(RecipeError, match=f"{name}=20 is no multiple of key_block=8"):
        HipAttention(**{name: 20})
