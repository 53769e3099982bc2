"""First tokens and a local window: what a query sees, and what a cache must still hold.

Shapes: query_positions [B|1, Q], key_positions [B|1, H|1, n]; original positions, -1 is padding.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from paretolm.contracts import Held, Kept, Observe, Observed, OpenContext, Step

from ._ranking import top


def in_window(query_positions: Tensor, key_positions: Tensor, first: int, window: int) -> Tensor | None:
    """[B|1, H|1, Q, n] True where a key is among the `first` tokens or fewer than `window` tokens back.

    None where nothing is hidden (causality aside), which spares the mask of a single decoding step.
    """
    far = torch.iinfo(key_positions.dtype).max
    oldest = torch.where(key_positions >= first, key_positions, far).amin(-1)
    if bool((query_positions.amax(-1)[:, None] - oldest < window).all()):
        return None
    keys = key_positions[:, :, None, :]
    return (query_positions[:, None, :, None] - keys < window) | (keys < first)


def still_seen(positions: Tensor, first: int, window: int) -> Tensor:
    """[B|1, H|1, n] True for the held entries that the next query, or a later one, can read."""
    following = positions.amax(-1, keepdim=True) + 1
    return (positions >= 0) & ((positions < first) | (following - positions < window))


def equal_rows(wanted: Tensor) -> Tensor | None:
    """Indices [B|1, H|1, m] of what `wanted` [B|1, H|1, n] names, m the largest number any row wants.

    A row that wants fewer is a short one that wants all its real entries, so it fills up with padding, which
    stays padding. None where all is wanted.
    """
    m = int(wanted.sum(-1).max())
    if m == wanted.shape[-1]:
        return None
    return top(wanted.int(), m)


def num_dropped(positions: Tensor, index: Tensor) -> int:
    """Real entries of the fullest row that `index` leaves out; padding does not count, and -1 is no entry."""
    real = (positions >= 0).expand(*torch.broadcast_shapes(positions.shape[:2], index.shape[:2]), -1)
    index = index.expand(*real.shape[:2], -1)
    return int((real.sum(-1) - (real.gather(-1, index.clamp(min=0)) & (index >= 0)).sum(-1)).max())


@dataclass
class WindowKeep:
    """Holds the `first` tokens and what later queries can see of the last `window`."""

    ctx: OpenContext
    first: int
    window: int
    observe: Observe = field(default_factory=Observe)

    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        return in_window(query_positions, key_positions, self.first, self.window)

    def settle(self, held: Held, observed: Observed, step: Step) -> Kept | None:
        index = equal_rows(still_seen(held.positions, self.first, self.window))
        if index is None:
            return None
        self.ctx.count("tokens_evicted", num_dropped(held.positions, index))
        return Kept(index)
