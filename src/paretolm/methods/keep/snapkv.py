"""SnapKV: the end of the prompt says which of its tokens matter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from paretolm.contracts import (
    Budget,
    Cost,
    Edit,
    Method,
    ModelView,
    Need,
    Observe,
    Phase,
    Slot,
    knob,
)
from paretolm.errors import RecipeError

from ._cost import holding
from ._prompt import PromptKeep, Text
from ._ranking import top

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


def window_of(capacity: int, window_size: int) -> int:
    """Queries that vote and stay; a short prompt's budget leaves no room for all of them."""
    return min(window_size, max(1, capacity // 2))


@dataclass
class SnapKVKeep(PromptKeep):
    """The window is `window_size` queries, or half of the budget where that is less."""

    method: SnapKV

    def __post_init__(self) -> None:
        self.observe = Observe(queries=self.method.window_size)

    def size(self, length: int) -> int:
        return self.method.budget.tokens(length)

    def choose(self, text: Text, size: int) -> Tensor:
        window = window_of(self.method.budget.tokens(text.length), self.method.window_size)
        queries, knobs = text.queries[:, :, -window:], (self.method.kernel_size, self.method.pooling)
        return select(queries, text.keys, text.scaling, size, *knobs)


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
            raise RecipeError(f"{self.name}: kernel_size must be odd, not {self.kernel_size}")
        fixed = self.budget.fixed
        if fixed is not None and fixed <= self.window_size:
            raise RecipeError(
                f"{self.name}: window_size={self.window_size} leaves nothing of budget={self.budget} to select; "
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
