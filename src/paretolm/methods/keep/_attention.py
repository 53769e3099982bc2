"""Attention that some queries pay to the keys before them."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_attention(queries: Tensor, keys: Tensor, scaling: float) -> Tensor:
    """[B, n] attention to each key, a mean over queries and heads; queries [B, Hq, w, D] see all keys [B, H, n, D]."""
    grouped = queries.unflatten(1, (keys.shape[1], -1))
    logits = torch.einsum("bhgwd,bhnd->bhgwn", grouped, keys).float() * scaling
    return logits.softmax(-1).mean((1, 2, 3))
