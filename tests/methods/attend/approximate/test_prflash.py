"""Drawn blocks: their number, their law, density one."""

import math

import pytest
import torch

from paretolm.methods.attend.approximate.prflash import drawn_blocks
from tests.contract.spec import LawSpec

LAWS = LawSpec(
    neutral="prflash(keep=1, block_size=4)",
    acts="prflash(keep=0.3, block_size=4)",
)


def draw(num, keep, distribution, seed=0):
    return drawn_blocks(torch.arange(num), keep, distribution, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("distribution", ["harmonic", "uniform"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 1])
def test_each_query_block_draws_its_share_of_the_blocks_before_it(keep, distribution):
    for own, row in enumerate(draw(23, keep, distribution).tolist()):
        taken = [block for block in row if block >= 0]
        assert len(set(taken)) == len(taken) == math.ceil(own * keep - 1e-9)
        assert all(block < own for block in taken)


def test_near_blocks_are_drawn_in_proportion_to_one_over_distance():
    """One of two blocks at distances 1 and 2 is drawn: with weights 1 and 1/2, the nearer in two of three draws."""
    for distribution, share in (("harmonic", 2 / 3), ("uniform", 1 / 2)):
        nearer = [int(draw(3, 0.5, distribution, seed)[2, 0]) == 1 for seed in range(1500)]
        assert sum(nearer) / 1500 == pytest.approx(share, abs=0.05)  # four standard deviations
