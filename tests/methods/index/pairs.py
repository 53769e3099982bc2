"""The distance at which bands let each query read each key, pair by pair."""

import torch
from torch import Tensor

from paretolm.contracts import Band


def pair_distances(bands: list[Band], queries: Tensor, keys: Tensor) -> Tensor:
    """[Q, n] of queries [Q] and keys [n]; every key that is not later than its query must be in one band alone."""
    found = torch.zeros(len(queries), len(keys), dtype=torch.long)
    covered = torch.zeros_like(found)
    for band in bands:
        columns = torch.arange(len(keys))[band.keys if band.keys is not None else slice(None)]
        mine = torch.ones(len(queries), len(columns), dtype=torch.bool) if band.allowed is None else band.allowed[0, 0]
        apart = band.query_positions[0][:, None] - band.key_positions[0, 0][None]
        found[:, columns] += torch.where(mine, apart, 0)
        covered[:, columns] += mine
    written = keys[None] <= queries[:, None]
    assert bool((covered[written] == 1).all())
    return found
