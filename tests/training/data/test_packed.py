"""Windows of a text: each token once an epoch, the same number the same sequence, borders that hide what was before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paretolm.training.contracts import Source
from paretolm.training.data.packed import Packed, Windows, restarts
from tests.training import tiny

LENGTH = 32


def text(size: int, seed: int = 0) -> Source:
    """Ids that are all different, so that a place is told by its id."""
    return tiny.source(np.arange(3, size + 3, dtype=np.uint32), LENGTH, seed)


@given(st.integers(2 * LENGTH, 2000), st.integers(0, 9), st.integers(0, 3))
def test_an_epoch_reads_everything_once_but_the_edges(size: int, seed: int, epoch: int) -> None:
    source = text(size, seed)
    windows = Windows(source)
    bodies = [windows.body(epoch * windows.count + i) for i in range(windows.count)]
    read = np.sort(np.concatenate(bodies))
    assert all(len(b) == LENGTH - 1 and (np.diff(b) == 1).all() for b in bodies)
    assert (np.diff(read) == 1).all(), "disjoint, and nothing left out between them"
    assert size - len(read) < 2 * (LENGTH - 1)


def test_every_epoch_has_another_order_and_cuts_elsewhere() -> None:
    windows = Windows(text(3000))
    starts = [[int(windows.body(e * windows.count + i)[0]) for i in range(windows.count)] for e in range(3)]
    assert len({min(s) for s in starts}) == 3
    assert len({tuple(s - min(epoch) for s in epoch) for epoch in starts}) == 3
    assert all(epoch != sorted(epoch) for epoch in starts)


@pytest.mark.parametrize("boundaries", ["eos", "masked"])
def test_a_sequence_is_a_function_of_seed_and_number(boundaries: str) -> None:
    order = Packed(boundaries=boundaries)
    one, two, other = order.open(text(2000)), order.open(text(2000)), order.open(text(2000, seed=1))
    numbers = [0, 1, 63, 64, 500, 3]
    assert all(one(n).ids.tolist() == two(n).ids.tolist() for n in reversed(numbers))
    assert any(one(n).ids.tolist() != other(n).ids.tolist() for n in numbers)
    for n in numbers:
        ids = one(n).ids
        assert (ids[0], len(ids), ids.dtype) == (0, LENGTH, np.int64)
        assert ids[1:].tolist() == Windows(text(2000)).body(n).tolist()


def test_positions_begin_again_after_each_end() -> None:
    assert restarts(np.array([0, 5, 1, 6, 7, 1, 1, 8]), 1).tolist() == [0, 1, 2, 0, 1, 2, 0, 0]
    assert restarts(np.array([0, 5, 6, 1]), 1).tolist() == [0, 1, 2, 3]
    assert restarts(np.array([0, 5, 6]), 1).tolist() == [0, 1, 2]


def test_masked_documents_are_read_apart() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(3, 50, 1000).astype(np.uint16)
    ids[rng.choice(1000, 120, replace=False)] = 1
    model = tiny.model(50, std=0.3)

    def logits(ids: np.ndarray, positions: np.ndarray | None = None) -> torch.Tensor:
        place = None if positions is None else torch.from_numpy(positions)[None]
        with torch.no_grad():
            return model(input_ids=torch.from_numpy(ids)[None], position_ids=place, use_cache=False).logits[0]

    sampled = Packed(boundaries="masked").open(tiny.source(ids))(0)
    assert sampled.positions is not None
    begins = np.flatnonzero(sampled.positions == 0)
    assert len(begins) > 3
    apart = torch.cat([logits(part) for part in np.split(sampled.ids, begins[1:])])
    torch.testing.assert_close(logits(sampled.ids, sampled.positions), apart, rtol=1e-4, atol=1e-5)
    assert (logits(sampled.ids) - apart).abs().max() > 0.1, "without masks it shows"
