"""Choosing entries by score."""

from __future__ import annotations

import torch
from torch import Tensor


def top(scores: Tensor, k: int) -> Tensor:
    """Ascending indices [..., k] of the k largest scores [..., n].

    Equal scores are common (bf16, zeros), and `topk` breaks them as it likes; here the later entry wins.
    """
    last_first = scores.flip(-1).argsort(dim=-1, descending=True, stable=True)[..., :k]
    return (scores.shape[-1] - 1 - last_first).sort(dim=-1).values


def taken(table: Tensor, index: Tensor) -> Tensor:
    """[B, H, m]: table [B|1, H|1, n] at index [B|1, H|1, m]."""
    shape = torch.broadcast_shapes(table.shape[:2], index.shape[:2])
    return table.expand(*shape, -1).gather(-1, index.expand(*shape, -1))
