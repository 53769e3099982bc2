"""TokenSelect: all heads of a layer vote for the entries they read together."""

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
    Slot,
    Step,
    knob,
)
from paretolm.errors import RecipeError

from ._choice import Choosing, attention, best, count_unread, own_entries, reading, within
from ._reuse import Reused, leaders, spread

POSITION_BYTES = 4  # int32, as the cache holds them


def between(length: int, own: Tensor, n_init: int, n_local: int) -> Tensor:
    """[Q, n] True for entries that are neither among the first nor within the last `n_local` up to a query's own."""
    entries = torch.arange(length, device=own.device)
    return (entries >= n_init) & (entries <= own[:, None] - n_local)


def voted(queries: Tensor, keys: Tensor, candidates: Tensor, k: Tensor) -> Tensor:
    """[B, 1, Q, n] True at the k [Q] candidates [Q, n] with most attention, a softmax a head, summed over all heads.

    queries [B, Hq, Q, D], keys [B, H, n, D]."""
    votes = attention(queries, keys, candidates).sum((1, 2))  # not a number where there are no candidates
    return best(votes.masked_fill(~candidates, float("-inf")), k)[:, None]


@dataclass
class TokenVotes(Choosing):
    """A chunk of the prompt votes with the mean of its queries, a token after it with its own."""

    ctx: OpenContext
    method: TokenSelect
    last: Reused = field(default_factory=Reused)

    @property
    def block(self) -> int:
        return self.method.chunk_size

    def choose(self, queries: Tensor, held: Held, step: Step) -> Tensor | None:
        own = own_entries(held.length, step.num_queries, queries.device)
        budget = within(self.method.budget, own)
        if bool((own < budget).all()):
            return None
        if step.moment in (Moment.PREFILL, Moment.PREFILL_END):
            mask = self._chunk(queries, held, own, int(budget[-1]))
        else:
            mask = self._tokens(queries, held, step, own, budget)
        count_unread(self.ctx, mask, own)
        return mask

    def _chunk(self, queries: Tensor, held: Held, own: Tensor, budget: int) -> Tensor:
        """[B, 1, Q, n]: one vote for a chunk of the prompt, which reads itself and the last entries before it too."""
        method, first = self.method, own[:1]
        candidates = between(held.length, first, method.n_init, method.n_local)
        mean = queries.mean(2, keepdim=True)
        k = torch.tensor([max(1, budget - method.n_init - method.n_local)], device=own.device)
        return (voted(mean, held.keys(), candidates, k) | ~candidates) & reading(held.length, own)

    def _tokens(self, queries: Tensor, held: Held, step: Step, own: Tensor, budget: Tensor) -> Tensor:
        method = self.method
        who = leaders(queries, self.last.query, self.last.since, None, method.threshold)
        before = self.last.mask(held.positions) if who[0] < 0 else None
        anew = [i for i, leader in enumerate(who) if leader == i]
        self.ctx.count("selections_made", len(anew))
        self.ctx.count("selections_reused", len(who) - len(anew))
        found = None
        if anew:
            candidates = between(held.length, own[anew], method.n_init, method.n_local)
            k = (budget[anew] - method.n_init - method.n_local).clamp(min=1)
            found = voted(queries[:, :, anew], held.keys(), candidates, k)
            at = int(step.positions[0, anew[-1]])
            self.last.remember(queries[:, :, anew[-1]], found[:, :, -1], held.positions, at, 0)
        always = ~between(held.length, own, method.n_init, method.n_local)
        return (spread(before, found, who) | always) & reading(held.length, own)

    def tensors(self) -> Iterable[Tensor]:
        return self.last.tensors()

    def select_rows(self, rows: Tensor) -> None:
        self.last.select_rows(rows)


@dataclass(frozen=True, kw_only=True)
class TokenSelect(Method):
    """Reads the first and the newest entries and those between that all heads together pay most attention to.

    TokenSelect: Efficient Long-Context Inference and Length Extrapolation for LLMs via Dynamic Token-Level KV Cache
    Selection (2411.02886). Each head's softmax over the entries between is a vote, the votes of a layer's heads are
    summed, and all heads read the same entries (soft voting). While queries stay similar to the one that chose last,
    its choice is read again (selection cache). The prompt is read in chunks of `chunk_size`, each with one choice.

    Where we leave the paper: `budget` counts the first, the newest and the chosen entries together; scores are
    scaled as attention scales them before the softmax; a chunk of the prompt reads all of itself and never a choice
    made before it; positions stay the original ones, so that this is no way to read beyond the trained length. After
    the prompt many tokens in one forward read what they would read alone; the prompt itself depends on its chunks.
    Padded batches are refused.
    """

    papers: ClassVar[tuple[str, ...]] = ("2411.02886",)

    budget: Budget = knob(Budget(2688, "tok"), help="entries read, first and newest ones included (paper: k more)")
    n_init: int = knob(128, low=0, help="first entries, always read")
    n_local: int = knob(512, low=1, help="newest entries, always read, the query's own included")
    threshold: float = knob(0.9, low=-1, high=1, help="cosine of queries from which a choice is used again; 1: never")
    chunk_size: int = knob(512, low=1, help="tokens of the prompt that choose together")

    def validate(self) -> None:
        fixed = self.budget.fixed
        if fixed is not None and fixed <= self.n_init + self.n_local:
            raise RecipeError(
                f"token-select: n_init={self.n_init} and n_local={self.n_local} leave nothing of budget={self.budget} "
                "to choose; raise the budget or lower them"
            )

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(
            slot=Slot.ATTEND,
            where=view.full_layers,
            make=lambda ctx: TokenVotes(ctx, self),
            needs=frozenset({Need.QUERIES}),
            # a draft that is dropped may have been the one that chose
            breaks=frozenset({Need.PADDING, Need.ROLLBACK, Need.TREE}),
        )

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """Everything is held; beside it the last query that chose and the positions it found, one set a layer."""
        layers = [view.layers[i] for i in view.full_layers]
        query = view.dtype_bytes * sum(layer.num_heads * layer.key_dim for layer in layers)
        heads = sum(layer.num_kv_heads for layer in layers)
        found = POSITION_BYTES * self.budget.tokens(tokens) * heads
        return replace(before, index_bytes=before.index_bytes + Interval(0, query + found))
