"""SnapKV: the end of the prompt says which of its tokens matter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

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
from paretolm.errors import RecipeError

from ._cost import holding
from ._ranking import top
from ._window import num_dropped

POOLINGS = ("avgpool", "maxpool")


def window_votes(queries: Tensor, keys: Tensor, scaling: float) -> Tensor:
    """[B, H, n - w] attention the last w queries pay to each key before them, a mean over a group's query heads.

    queries [B, Hq, w, D] and keys [B, H, n, D] end with the same token; among themselves the queries are causal.
    """
    w, n = queries.shape[2], keys.shape[2]
    grouped = queries.unflatten(1, (keys.shape[1], -1))
    logits = torch.matmul(grouped, keys[:, :, None].transpose(-1, -2)).float() * scaling
    seen = torch.ones(w, n, dtype=torch.bool, device=keys.device).tril(n - w)
    weights = logits.masked_fill(~seen, float("-inf")).softmax(-1)
    return weights[..., : n - w].sum(-2).mean(2)


def smooth(votes: Tensor, kernel_size: int, pooling: str) -> Tensor:
    """votes [B, H, m] pooled over neighbouring keys, so that what is kept stays in one piece; same shape."""
    pool = functional.avg_pool1d if pooling == "avgpool" else functional.max_pool1d
    return pool(votes, kernel_size, stride=1, padding=kernel_size // 2)


def select(
    queries: Tensor, keys: Tensor, scaling: float, capacity: int, kernel_size: int = 5, pooling: str = "avgpool"
) -> Tensor:
    """Ascending indices [B, H, capacity]: the window of the last w queries, and the keys it votes for.

    queries [B, Hq, w, D], keys [B, H, n, D], n > capacity > w. Of equal votes the later key stays.
    """
    w, n = queries.shape[2], keys.shape[2]
    chosen = top(smooth(window_votes(queries, keys, scaling), kernel_size, pooling), capacity - w)
    window = torch.arange(n - w, n, device=keys.device).expand(*chosen.shape[:2], -1)
    return torch.cat([chosen, window], dim=-1)


@dataclass
class SnapKVKeep:
    """Acts once, at the end of the prompt; a padded batch is decided row by row, each as if it were alone."""

    ctx: OpenContext
    method: SnapKV
    observe: Observe = field(init=False)

    def __post_init__(self) -> None:
        self.observe = Observe(queries=self.method.window_size)

    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        return None

    def settle(self, held: Held, observed: Observed, step: Step) -> Kept | None:
        if step.moment is not Moment.PREFILL_END:
            return None
        lengths = (held.positions[:, 0] >= 0).sum(-1).tolist()
        padding = [0] if step.padding is None else step.padding.tolist()
        budgets = [self.method.budget.tokens(held.seen - row) for row in padding]
        sizes = [min(length, budget) for length, budget in zip(lengths, budgets, strict=True)]
        if max(sizes) == held.length:
            return None
        assert observed.queries is not None
        index = self._index(held.keys(), observed.queries, observed.scaling, lengths, sizes)
        self.ctx.count("tokens_evicted", num_dropped(held.positions, index))
        return Kept(index)

    def _index(self, keys: Tensor, queries: Tensor, scaling: float, lengths: list[int], sizes: list[int]) -> Tensor:
        """[B, H, max(sizes)]; a row that keeps fewer is filled with padding, which comes first."""
        if len(lengths) == 1:
            return self._row(keys, queries, scaling, sizes[0])
        n, rows = keys.shape[2], []
        for row, (length, size) in enumerate(zip(lengths, sizes, strict=True)):
            one = slice(row, row + 1)
            own = self._row(keys[one, :, n - length :], queries[one, :, -length:], scaling, size) + n - length
            fill = torch.arange(max(sizes) - size, device=keys.device).expand(*own.shape[:2], -1)
            rows.append(torch.cat([fill, own], dim=-1))
        return torch.cat(rows)

    def _row(self, keys: Tensor, queries: Tensor, scaling: float, size: int) -> Tensor:
        if size == keys.shape[2]:
            return torch.arange(size, device=keys.device).expand(*keys.shape[:2], -1)
        window = min(queries.shape[2], max(1, size // 2))  # a short prompt leaves no room for the whole window
        return select(queries[:, :, -window:], keys, scaling, size, self.method.kernel_size, self.method.pooling)


@dataclass(frozen=True, kw_only=True)
class SnapKV(Method):
    """Keeps the prompt's last window and the keys to which its queries attend; all that is generated stays.

    SnapKV: LLM Knows What You are Looking for Before Generation (2404.14469), section 4, listing 1. The budget
    holds for the prompt: a prompt within it is kept whole.

    Where we leave the paper: one selection for a key-value head, from the mean vote of its group's query heads,
    since the official code repeats the keys for every query head first and so saves less. The default window
    of 32 is the one the official code falls back to (its class says 64). A budget in percent is of each
    prompt's length (the paper's max_capacity_prompt is a number). Of equal votes the later key stays.
    """

    papers: ClassVar[tuple[str, ...]] = ("2404.14469",)

    budget: Budget = knob(
        Budget(25, "%"), help="entries of the prompt that stay, window included (max_capacity_prompt)"
    )
    window_size: int = knob(32, low=1, help="last queries of the prompt that vote, and stay (L_obs)")
    kernel_size: int = knob(5, low=1, help="width of the pooling, odd")
    pooling: str = knob("avgpool", choices=POOLINGS, help="avgpool or maxpool")

    def validate(self) -> None:
        if self.kernel_size % 2 == 0:
            raise RecipeError(f"snapkv: kernel_size must be odd, not {self.kernel_size}")
        fixed = self.budget.fixed
        if fixed is not None and fixed <= self.window_size:
            raise RecipeError(
                f"snapkv: window_size={self.window_size} leaves nothing of budget={self.budget} to select; "
                "make the budget larger than the window"
            )

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(
            slot=Slot.KEEP,
            where=view.full_layers,
            make=lambda ctx: SnapKVKeep(ctx, self),
            phase=Phase.AFTER,
            needs=frozenset({Need.QUERIES}),
        )

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """Of a prompt of `tokens`."""
        capacity = self.budget.tokens(tokens)
        return before.with_layers(view.full_layers, lambda layer: holding(layer, capacity, per_head=True))
