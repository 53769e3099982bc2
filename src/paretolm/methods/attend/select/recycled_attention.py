"""Recycled Attention: a full step now and then says which entries the steps between read."""

from __future__ import annotations

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
    Interval,
    Method,
    ModelView,
    Moment,
    Need,
    OpenContext,
    Phase,
    Slot,
    Step,
    knob,
)

from ._choice import Choosing, attention, best, count_unread, own_entries, reading, within
from ._reuse import Reused, leaders, spread

POSITION_BYTES = 4  # int32, as the cache holds them


def most_attended(queries: Tensor, keys: Tensor, own: Tensor, k: Tensor) -> Tensor:
    """[B, H, Q, n] True at the k [Q] entries before a query to which it pays most attention, summed over a group.

    queries [B, Hq, Q, D] stand at entries own [Q] of keys [B, H, n, D]."""
    seen = reading(keys.shape[2], own)
    before = seen & (torch.arange(keys.shape[2], device=own.device) != own[:, None])
    return best(attention(queries, keys, seen).sum(2).masked_fill(~before, float("-inf")), k)


@dataclass
class Recycling(Choosing):
    """Counts tokens since the last full step; the prompt is read densely and starts no count."""

    ctx: OpenContext
    method: RecycledAttention
    last: Reused = field(default_factory=Reused)

    def choose(self, queries: Tensor, held: Held, step: Step) -> Tensor | None:
        if step.moment in (Moment.PREFILL, Moment.PREFILL_END):
            return None
        own = own_entries(held.length, step.num_queries, queries.device)
        who = leaders(queries, self.last.query, self.last.since, self.method.stride, self.method.similarity)
        before, started = (self.last.mask(held.positions) if who[0] < 0 else None), self.last.at
        full = [i for i, leader in enumerate(who) if leader == i]
        chosen = self._full_steps(queries, held, step, full)
        if len(full) == step.num_queries:
            return None
        since = step.positions[0, [max(leader, 0) for leader in who]]
        since[[i for i, leader in enumerate(who) if leader < 0]] = started
        mask = spread(before, chosen, who) | (held.positions[:, :, None] >= since[:, None])
        mask[:, :, full] = True
        mask = mask & reading(held.length, own)
        count_unread(self.ctx, mask, own)
        return mask

    def _full_steps(self, queries: Tensor, held: Held, step: Step, full: list[int]) -> Tensor | None:
        """[B, H, L, n] what each full step finds; the last of them is remembered."""
        if not full:
            self.last.since += step.num_queries
            return None
        own = own_entries(held.length, step.num_queries, queries.device)[full]
        found = most_attended(queries[:, :, full], held.keys(), own, within(self.method.budget, own))
        at, since = int(step.positions[0, full[-1]]), step.num_queries - 1 - full[-1]
        self.last.remember(queries[:, :, full[-1]], found[:, :, -1], held.positions, at, since)
        return found

    def tensors(self) -> Iterable[Tensor]:
        return self.last.tensors()

    def select_rows(self, rows: Tensor) -> None:
        self.last.select_rows(rows)


@dataclass(frozen=True, kw_only=True)
class RecycledAttention(Method):
    """Reads everything at one step in `stride`, and at the others only what that step attended to most.

    Recycled Attention: Efficient inference for long-context language models (2411.05787). A full step leaves the
    `budget` entries with most attention behind; until the next one, queries read these and what has been written
    since. With `similarity` a full step comes sooner, as soon as a query is less like the one of the last full step
    (the paper's dynamic schedule). Nothing is evicted.

    Where we leave the paper (its code could not be had): the first step after the prompt is a full one, while there
    the prompt's last token does its work, so that a prompt can be read once for many recipes; similarity is that of
    all heads' queries as one vector, and the stride stays an upper bound; attention is summed over a group's heads.
    Many tokens in one forward read what they would read alone. Padded batches are refused.
    """

    papers: ClassVar[tuple[str, ...]] = ("2411.05787",)

    budget: Budget = knob(Budget(25, "%"), help="entries that a full step hands on (K)")
    stride: int = knob(10, low=1, help="steps from one full step to the next (S); 1 reads everything")
    similarity: float | None = knob(None, low=-1, high=1, help="cosine below which a full step comes early (s)")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(
            slot=Slot.ATTEND,
            where=view.full_layers,
            make=lambda ctx: Recycling(ctx, self),
            phase=Phase.AFTER,
            needs=frozenset({Need.QUERIES}),
            # a draft that is dropped would have counted as a step
            breaks=frozenset({Need.PADDING, Need.ROLLBACK, Need.TREE}),
        )

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """Everything is held; beside it the last full step's query and the positions of what it found."""
        layers = [view.layers[i] for i in view.full_layers]
        query = view.dtype_bytes * sum(layer.num_heads * layer.key_dim for layer in layers)
        found = POSITION_BYTES * self.budget.tokens(tokens) * sum(layer.num_kv_heads for layer in layers)
        return replace(before, index_bytes=before.index_bytes + Interval(0, query + found))
