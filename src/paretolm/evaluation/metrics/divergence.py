"""How far one next-token distribution is from another."""

from __future__ import annotations

import math

import torch
from torch import Tensor

FLOOR = -100.0  # log-probability of a token that a method forbids: a finite cost instead of an infinite one


def log_probs(logits: Tensor) -> Tensor:
    """[n, V] float32, not below FLOOR."""
    return torch.log_softmax(logits.float(), -1).clamp_min(FLOOR)


def kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) in nats: log-probabilities [n, V] -> [n]."""
    return (p.exp() * (p - q)).sum(-1).clamp_min(0)


def js(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon divergence in bits, 0 to 1: log-probabilities [n, V] -> [n]."""
    middle = torch.logaddexp(p, q) - math.log(2)
    return ((kl(p, middle) + kl(q, middle)) / (2 * math.log(2))).clamp(0, 1)


def same_top(p: Tensor, q: Tensor) -> Tensor:
    """1 where the most likely token is the same: [n, V] -> [n]."""
    return (p.argmax(-1) == q.argmax(-1)).float()
