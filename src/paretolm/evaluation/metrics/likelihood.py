"""Negative log-likelihood of given tokens."""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK = 1 << 17  # logits turned into float32 at a time: as many as stay in a core's cache


def token_nll(logits: Tensor, targets: Tensor) -> Tensor:
    """Nats of each target: logits [q, V], targets [q] -> [q] float32, a few rows at a time in float32."""
    rows = max(1, _BLOCK // logits.shape[-1])
    found = [
        torch.nn.functional.cross_entropy(x.float(), y.to(x.device), reduction="none")
        for x, y in zip(logits.split(rows), targets.split(rows), strict=True)
    ]
    return torch.cat(found) if found else torch.zeros(0)
