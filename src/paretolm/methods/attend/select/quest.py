"""Quest: pages of the cache, read where their keys may match the query."""

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
from paretolm.errors import ConflictError, RecipeError

from ._choice import Choosing, best, count_unread, own_entries, reading, within


def bounds(keys: Tensor, page_size: int) -> tuple[Tensor, Tensor]:
    """(lowest, highest) value of each channel in every whole page, both [B, H, P, D]; keys [B, H, n, D]."""
    num = keys.shape[2] // page_size
    pages = keys[:, :, : num * page_size].unflatten(2, (num, page_size))
    return pages.amin(3), pages.amax(3)


def most_possible(queries: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
    """[B, H, Q, P] float32: the largest product with a query that a key within the bounds could have, summed over a
    group's query heads. queries [B, Hq, Q, D], bounds [B, H, P, D]."""
    grouped = queries.unflatten(1, (lowest.shape[1], -1)).float()
    up = torch.matmul(grouped.clamp(min=0), highest[:, :, None].transpose(-1, -2).float())
    down = torch.matmul(grouped.clamp(max=0), lowest[:, :, None].transpose(-1, -2).float())
    return (up + down).sum(2)


def chosen_pages(scores: Tensor, own: Tensor, page_size: int, num_pages: Tensor, length: int) -> Tensor:
    """[B, H, Q, n] True for a query's own page up to itself and the best pages before it, num_pages [Q] in all.

    scores [B, H, Q, P] with P at least the number of whole pages before the last query."""
    page = own // page_size
    before = torch.arange(scores.shape[-1], device=own.device) < page[:, None]
    picked = best(scores.masked_fill(~before, float("-inf")), num_pages - 1)
    entries = torch.arange(length, device=own.device) // page_size
    mine = entries == page[:, None]
    padded = torch.nn.functional.pad(picked, (0, max(0, int(entries[-1]) + 1 - picked.shape[-1])))
    return (padded[..., entries] | mine) & reading(length, own)


@dataclass
class PageBounds:
    """Bounds of whole pages, kept from forward to forward for entries that no later one takes back."""

    page_size: int
    lowest: Tensor | None = None
    highest: Tensor | None = None

    def of(self, held: Held, num_queries: int) -> tuple[Tensor, Tensor]:
        """Both [B, H, n // page_size, D]."""
        settled = (held.length - num_queries) // self.page_size
        if held.length != held.seen + num_queries:  # entries have left, and pages are cut anew
            settled, self.lowest = 0, None
        known = 0 if self.lowest is None else min(self.lowest.shape[2], settled)
        start = torch.arange(known * self.page_size, held.length, device=held.positions.device)
        lowest, highest = bounds(held.keys(start[None, None]), self.page_size)
        if self.lowest is not None and self.highest is not None:
            lowest = torch.cat([self.lowest[:, :, :known], lowest], dim=2)
            highest = torch.cat([self.highest[:, :, :known], highest], dim=2)
        self.lowest, self.highest = lowest[:, :, :settled].clone(), highest[:, :, :settled].clone()
        return lowest, highest

    def tensors(self) -> Iterable[Tensor]:
        return () if self.lowest is None or self.highest is None else (self.lowest, self.highest)

    def select_rows(self, rows: Tensor) -> None:
        if self.lowest is not None and self.highest is not None:
            self.lowest, self.highest = self.lowest[rows], self.highest[rows]


@dataclass
class QuestPages(Choosing):
    """Reads the prompt densely; afterwards every query picks pages of its own."""

    ctx: OpenContext
    method: Quest
    pages: PageBounds = field(init=False)

    def __post_init__(self) -> None:
        self.pages = PageBounds(self.method.page_size)

    def choose(self, queries: Tensor, held: Held, step: Step) -> Tensor | None:
        if step.moment in (Moment.PREFILL, Moment.PREFILL_END):
            return None
        own = own_entries(held.length, step.num_queries, queries.device)
        num_pages = -(-within(self.method.budget, own) // self.method.page_size)
        lowest, highest = self.pages.of(held, step.num_queries)
        if bool((num_pages > own // self.method.page_size).all()):
            return None
        scores = most_possible(queries, lowest, highest)
        mask = chosen_pages(scores, own, self.method.page_size, num_pages, held.length)
        count_unread(self.ctx, mask, own)
        return mask

    def tensors(self) -> Iterable[Tensor]:
        return self.pages.tensors()

    def select_rows(self, rows: Tensor) -> None:
        self.pages.select_rows(rows)


@dataclass(frozen=True, kw_only=True)
class Quest(Method):
    """Reads, for every token that is generated, only the pages of the cache whose keys may match its query best.

    Quest: Query-Aware Sparsity for Efficient Long-Context LLM Inference (2406.10774), sections 3.3 and 3.4. Of each
    page of `page_size` entries the lowest and the highest value of every key channel is known; the largest product
    with the query that lies within them ranks the page. Everything stays in the cache, the prompt is read densely,
    and the first `dense_layers` layers are left alone, as in the official code.

    Where we leave the paper: a group of query heads shares its pages (the sum of their bounds ranks them), since the
    cache is read by key-value head; the page the query stands in is always read and counts as one of the budget's
    pages; a budget that is no multiple of the page is rounded up. Bounds are kept for whole pages. Many tokens in one
    forward each read what they would read alone. Padded batches are refused: pages would hold padding.
    """

    papers: ClassVar[tuple[str, ...]] = ("2406.10774",)
    baseline: ClassVar[bool] = True

    budget: Budget = knob(Budget(256, "tok"), help="entries read by a query (token budget)")
    page_size: int = knob(16, low=1, help="entries of a page (chunk_size)")
    dense_layers: int = knob(2, low=0, help="first layers that read everything")

    def validate(self) -> None:
        if self.budget.fixed is not None and self.budget.fixed < 2 * self.page_size:
            raise RecipeError(
                f"quest: budget={self.budget} is less than two pages of page_size={self.page_size}, and one of them is "
                f"the query's own; give at least {2 * self.page_size}tok or smaller pages"
            )

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(
            slot=Slot.ATTEND,
            where=self._layers(view),
            make=lambda ctx: QuestPages(ctx, self),
            phase=Phase.AFTER,
            needs=frozenset({Need.QUERIES}),
            # in a draft tree the page a query stands in depends on the drafts beside it
            breaks=frozenset({Need.PADDING, Need.TREE}),
        )

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """Everything is held; bounds of the pages come on top once text follows the prompt."""
        pages = math.floor(tokens / self.page_size)
        layers = [view.layers[i] for i in self._layers(view)]
        most = 2 * pages * view.dtype_bytes * sum(layer.num_kv_heads * layer.key_dim for layer in layers)
        return replace(before, index_bytes=before.index_bytes + Interval(0, most))

    def _layers(self, view: ModelView) -> frozenset[int]:
        found = frozenset(i for i in view.full_layers if i >= self.dense_layers)
        if not found:
            raise ConflictError(
                f"quest leaves the first {self.dense_layers} layers dense, and this model has no full attention behind "
                "them; lower dense_layers"
            )
        return found
