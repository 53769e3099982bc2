"""Choosing entries by score."""

from __future__ import annotations

from torch import Tensor


def top(scores: Tensor, k: int) -> Tensor:
    """Ascending indices [..., k] of the k largest scores [..., n].

    Equal scores are common (bf16, zeros), and `topk` breaks them as it likes; here the later entry wins.
    """
    last_first = scores.flip(-1).argsort(dim=-1, descending=True, stable=True)[..., :k]
    return (scores.shape[-1] - 1 - last_first).sort(dim=-1).values
