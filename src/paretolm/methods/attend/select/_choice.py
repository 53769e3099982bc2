"""Which entries each of several queries reads, as a mask [B, H|1, Q, n].

The queries of a forward are the last Q of the n held entries, so that query i stands at entry n - Q + i.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from paretolm.contracts import Budget, Held, OpenContext, Step
from paretolm.methods.keep._ranking import top


def own_entries(length: int, num_queries: int, device: torch.device) -> Tensor:
    """[Q] the entry of each query."""
    return torch.arange(length - num_queries, length, device=device)


def reading(length: int, own: Tensor) -> Tensor:
    """[Q, n] True for the entries up to a query's own."""
    return torch.arange(length, device=own.device) <= own[:, None]


def within(budget: Budget, own: Tensor) -> Tensor:
    """[Q] entries that the budget allows a query which stands at entry `own`."""
    return torch.tensor([budget.tokens(entry + 1) for entry in own.tolist()], device=own.device)


def best(scores: Tensor, k: Tensor) -> Tensor:
    """[..., Q, n] True at the k [Q] largest of scores [..., Q, n]; -inf is never chosen."""
    most = min(int(k.max()), scores.shape[-1])
    if most <= 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    values, index = scores.topk(most, dim=-1)
    wanted = (torch.arange(most, device=k.device) < k[:, None]) & (values > float("-inf"))
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, index, wanted)


def indices(mask: Tensor) -> Tensor:
    """[B, H, m] ascending indices of a mask [B, H, 1, n]; a row that holds fewer than m is filled with its newest."""
    counts = mask.sum(-1)
    if int(counts.min()) < int(counts.max()):
        return top(mask[:, :, 0].int(), int(counts.max()))
    return mask.nonzero()[:, -1].unflatten(0, (*mask.shape[:2], -1))


class Choosing(ABC):
    """A part that chooses for each query; a single one reads just the entries it chose."""

    @abstractmethod
    def choose(self, queries: Tensor, held: Held, step: Step) -> Tensor | None:
        """As AttendChoose.choose."""

    def select(self, queries: Tensor, held: Held, step: Step) -> Tensor | None:
        mask = self.choose(queries, held, step)
        return None if mask is None else indices(mask)


def probabilities(queries: Tensor, keys: Tensor, scaling: float, seen: Tensor) -> Tensor:
    """[B, Hq, Q, n] float32 of queries [B, Hq, Q, D] over keys [B, H, n, D], where seen [..., Q, n]."""
    grouped = queries.unflatten(1, (keys.shape[1], -1))
    logits = torch.matmul(grouped, keys[:, :, None].mT).flatten(1, 2).float() * scaling
    return logits.masked_fill(~seen, float("-inf")).softmax(-1)


def attention(queries: Tensor, keys: Tensor, seen: Tensor) -> Tensor:
    """[B, H, G, Q, n] float32 probabilities of the G query heads of each key-value head, scaled by 1/sqrt(D).

    queries [B, Hq, Q, D], keys [B, H, n, D], seen [Q, n]."""
    found = probabilities(queries, keys, queries.shape[-1] ** -0.5, seen)
    return found.unflatten(1, (keys.shape[1], -1))


def count_unread(ctx: OpenContext, mask: Tensor, own: Tensor) -> None:
    """Counts the entries before a query that it does not read, over all heads of the mask, which is causal."""
    rows = mask.shape[0] * mask.shape[1]
    ctx.count("entries_unread", rows * int((own + 1).sum()) - int(mask.count_nonzero()))
