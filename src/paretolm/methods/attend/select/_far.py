"""Far keys at one distance: what lies `limit` or more back counts as `limit` back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from paretolm.contracts import Band


def far_bands(query_positions: Tensor, key_positions: Tensor, limit: int) -> list[Band]:
    """Bands of the near keys, at their positions, and of the far ones, all at `limit` from every query.

    query_positions [B|1, Q]; key_positions [B|1, 1, n], ascending, without padding: rows are alike."""
    near = Band(key_positions=key_positions, query_positions=query_positions)
    first, last = int(query_positions.min()), int(query_positions.max())
    keys = key_positions[0, 0]
    num_far, start = int((keys <= last - limit).sum()), int((keys <= first - limit).sum())
    if num_far == 0:
        return [near]
    cap, still = torch.full_like(query_positions, limit), torch.zeros_like(key_positions[..., :num_far])
    if num_far == start:
        return [
            Band(still, cap, keys=slice(0, num_far)),
            Band(key_positions[..., num_far:], query_positions, keys=slice(num_far, None)),
        ]
    far = query_positions[:, None, :, None] - key_positions[:, :, None, :] >= limit
    return [
        Band(still, cap, keys=slice(0, num_far), allowed=far[..., :num_far]),
        Band(key_positions[..., start:], query_positions, keys=slice(start, None), allowed=~far[..., start:]),
    ]


@dataclass(frozen=True)
class FarAtLimit:
    """The INDEX part."""

    limit: int

    def bands(self, query_positions: Tensor, key_positions: Tensor) -> Sequence[Band]:
        return far_bands(query_positions, key_positions, self.limit)
