"""H2O: heavy hitters and recent tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import (
    Budget,
    Cost,
    Edit,
    Held,
    Kept,
    Method,
    ModelView,
    Moment,
    Need,
    Observe,
    Observed,
    OpenContext,
    Phase,
    Slot,
    Step,
    knob,
)

from ._cost import holding, received_bytes
from ._ranking import top


def accumulate(carried: Tensor | None, received: Tensor, num_kv_heads: int) -> Tensor:
    """[B, H, n] score of each held entry: what it carried so far plus what a group's query heads gave it since.

    carried [B, H, n'] with n' <= n (newer entries carry nothing); received [B, Hq, n].
    """
    scores = received.unflatten(1, (num_kv_heads, -1)).sum(2)
    if carried is not None:
        scores[..., : carried.shape[-1]] += carried
    return scores


def heavy_and_recent(scores: Tensor, capacity: int, recent: int) -> Tensor:
    """Ascending indices [B, H, capacity] of the last `recent` entries and the best scored ones before them.

    scores [B, H, n], n >= capacity >= recent. Of equal scores the later entry stays.
    """
    n = scores.shape[-1]
    heavy = top(scores[..., : n - recent], capacity - recent)
    tail = torch.arange(n - recent, n, device=scores.device).expand(*scores.shape[:2], -1)
    return torch.cat([heavy, tail], dim=-1)


def num_recent(capacity: int, share: float) -> int:
    return math.ceil(capacity * share - 1e-9)


@dataclass
class H2OKeep:
    """scores [B, H, n]: attention each entry had received when entries were last evicted, in float32."""

    ctx: OpenContext
    budget: Budget
    recent: float
    scores: Tensor | None = None
    observe: Observe = field(default_factory=lambda: Observe(received=True))

    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        return None

    def settle(self, held: Held, observed: Observed, step: Step) -> Kept | None:
        capacity = self.budget.tokens(held.seen)
        if step.moment is Moment.PREFILL or held.length <= capacity:
            return None
        assert observed.received is not None
        scores = accumulate(self.scores, observed.received, self.ctx.view.layers[held.layer].num_kv_heads)
        index = heavy_and_recent(scores, capacity, num_recent(capacity, self.recent))
        self.scores = scores.gather(-1, index)
        self.ctx.count("tokens_evicted", held.length - capacity)
        return Kept(index)

    def tensors(self) -> Iterable[Tensor]:
        return () if self.scores is None else (self.scores,)

    def select_rows(self, rows: Tensor) -> None:
        self.scores = None if self.scores is None else self.scores[rows]


@dataclass(frozen=True, kw_only=True)
class H2O(Method):
    """Evicts the entries that have received the least attention so far, but never the most recent ones.

    H2O: Heavy-Hitter Oracle for Efficient Generative Inference of Large Language Models (2306.14048),
    section 4, algorithm 1. Acts at the end of the prompt and after every step; the score of an entry is the sum
    of the attention probabilities of all queries since it was written, and evicted entries never come back.

    Where we leave the paper: one score for a key-value head, the sum over the query heads of its group (the
    paper's models have no groups); a budget in percent grows with the text, while the official code fixes it
    at the length of the prompt; positions are the original ones (the official code's "real drop" variant too).
    Of equal scores the later entry stays.
    """

    papers: ClassVar[tuple[str, ...]] = ("2306.14048",)

    budget: Budget = knob(Budget(25, "%"), help="entries held, heavy hitters and recent ones together (k)")
    recent: float = knob(0.5, low=0, high=1, help="share of the budget for the most recent tokens (paper: half)")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(
            slot=Slot.KEEP,
            where=view.full_layers,
            make=lambda ctx: H2OKeep(ctx, self.budget, self.recent),
            phase=Phase.AFTER,
            needs=frozenset({Need.FULL_SCORES}),
            # a rejected draft's attention cannot be taken out of the scores again
            breaks=frozenset({Need.CHUNK_INVARIANT, Need.PADDING, Need.ROLLBACK, Need.TREE}),
        )

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        capacity = self.budget.tokens(tokens)
        cost = before.with_layers(view.full_layers, lambda layer: holding(layer, capacity, per_head=True))
        layers = [view.layers[i] for i in view.full_layers]
        return replace(cost, index_bytes=cost.index_bytes + received_bytes(layers, self.budget, tokens))

    def chunk(self, tokens: int) -> int | None:
        return max(1, self.budget.tokens(tokens) // 8)
