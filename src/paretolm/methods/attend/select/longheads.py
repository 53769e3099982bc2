"""LongHeads: each head reads a few chunks of a long text, in its trained length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import (
    Band,
    Cost,
    Edit,
    Held,
    Interval,
    Method,
    ModelView,
    Need,
    OpenContext,
    Slot,
    Step,
    knob,
)
from paretolm.errors import RecipeError

from ._choice import best
from ._hold import HoldAll


def rank_bands(query_positions: Tensor, key_positions: Tensor, length: int) -> list[Band]:
    """Positions among what is read, once a query stands at `length` or beyond; the last keys are the queries' own.

    query_positions [B|1, Q], key_positions [B|1, H|1, m]."""
    if int(query_positions.max()) < length:
        return [Band(key_positions=key_positions, query_positions=query_positions)]
    ranks = torch.arange(key_positions.shape[-1], device=key_positions.device)
    return [Band(ranks[None, None], ranks[-query_positions.shape[-1] :][None])]


def representative(queries: Tensor, keys: Tensor) -> Tensor:
    """[B, H, C, D]: the mean of each chunk's keys as its mean query weighs them.

    queries [B, Hq, C, l, D], keys [B, H, C, l, D], both turned as if each chunk began the text."""
    mean = queries.unflatten(1, (keys.shape[1], -1)).mean((2, 4))
    logits = torch.einsum("bhcd,bhcld->bhcl", mean.float(), keys.float()) * keys.shape[-1] ** -0.5
    return torch.einsum("bhcl,bhcld->bhcd", logits.softmax(-1), keys.float()).to(keys.dtype)


def chosen_entries(scores: Tensor, tail: int, length: int, chunk: int, budget: int) -> Tensor:
    """[B, H, m] ascending entries: the first chunk, the best chunks between by scores [B, H, C], and all from `tail` on.

    tail is the first entry of a chunk; as many chunks are read as fit into the budget."""
    between = torch.arange(scores.shape[-1], device=scores.device)
    inside = (between > 0) & (between < tail // chunk)
    num = max(0, (budget - chunk - (length - tail)) // chunk)
    picked = best(scores.masked_fill(~inside, float("-inf"))[..., None, :], torch.tensor([num], device=scores.device))
    picked = picked[..., 0, :] | (between == 0)
    chunks = picked.nonzero()[:, -1].unflatten(0, (*scores.shape[:2], -1))
    entries = (chunks[..., None] * chunk + torch.arange(chunk, device=scores.device)).flatten(-2)
    rest = torch.arange(tail, length, device=scores.device).expand(*entries.shape[:2], -1)
    return torch.cat([entries, rest], dim=-1)


@dataclass(frozen=True)
class ChunkRanks:
    """The INDEX part."""

    length: int

    def bands(self, query_positions: Tensor, key_positions: Tensor) -> Sequence[Band]:
        return rank_bands(query_positions, key_positions, self.length)


@dataclass
class ChunkHeads:
    """The ATTEND part. known [B, H, C, D] stand for whole chunks, pending [B, Hq, r, D] are queries of the last one."""

    ctx: OpenContext
    length: int
    size: int
    block: int
    known: Tensor | None = None
    pending: Tensor | None = None

    def select(self, queries: Tensor, held: Held, step: Step) -> Tensor | None:
        self._learn(queries, held)
        size, first = self.size, held.length - queries.shape[2]
        if held.length <= self.length or self.known is None:
            return None
        at = torch.arange(first, held.length, device=queries.device)[None, None]
        bare = held.turned(queries, -at).mean(2).unflatten(1, (self.known.shape[1], -1)).sum(2)
        scores = torch.einsum("bhd,bhcd->bhc", bare.float(), self.known.float())
        tail = max(0, first // size - 1) * size
        index = chosen_entries(scores, tail, held.length, size, self.length)
        self.ctx.count("entries_unread", (held.length - index.shape[-1]) * queries.shape[2] * scores.shape[1])
        return index

    def _learn(self, queries: Tensor, held: Held) -> None:
        """Takes up the queries, and represents every chunk that they complete."""
        size, first = self.size, held.length - queries.shape[2]
        at = torch.arange(first, held.length, device=queries.device)
        own = held.turned(queries, -(at - at % size)[None, None])
        own = own if self.pending is None else torch.cat([self.pending, own], dim=2)
        num = own.shape[2] // size
        self.pending = own[:, :, num * size :].clone()
        if num == 0:
            return
        start = 0 if self.known is None else self.known.shape[2] * size
        entries = torch.arange(start, start + num * size, device=queries.device)
        keys = held.turned(held.keys(entries[None, None]), -(entries - entries % size)[None, None])
        whole = own[:, :, : num * size].unflatten(2, (num, size))
        found = representative(whole, keys.unflatten(2, (num, size)))
        self.known = found if self.known is None else torch.cat([self.known, found], dim=2)

    def tensors(self) -> Iterable[Tensor]:
        return (t for t in (self.known, self.pending) if t is not None)

    def select_rows(self, rows: Tensor) -> None:
        self.known = None if self.known is None else self.known[rows]
        self.pending = None if self.pending is None else self.pending[rows]


@dataclass(frozen=True, kw_only=True)
class LongHeads(Method):
    """Lets each head read, of a text longer than `attn_length`, the first, the newest and its own best chunks.

    LongHeads: Multi-Head Attention is Secretly a Long Context Processor (2402.10685), section 3. Whole chunks of
    `chunk_size` tokens are known by one vector each, and the product with the query says which are read. What is read
    fits into `attn_length` and is counted through from 0, so that no distance is new to the model; other heads of the
    layer read other chunks. A text within attn_length is read as it is. Everything stays held.

    Where we leave the paper: a chunk's vector is the mean of its keys as the mean of its queries weighs them, while
    the official code weighs them by the mean output of attention within the chunk; a group of query heads chooses
    together; queries of one forward choose together in blocks of `query_block`, the paper's each for itself (as here
    in single steps), so larger forwards are another method; the newest chunks read are the one before the block's
    first query and those after it. Padded batches are refused.
    """

    papers: ClassVar[tuple[str, ...]] = ("2402.10685",)

    attn_length: int | None = knob(None, low=4, help="entries read at most; none: the trained length")
    chunk_size: int | None = knob(None, low=1, help="tokens of a chunk (l); none: a sixteenth of attn_length")
    query_block: int = knob(32, low=1, help="queries of one forward that choose together")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        length, size = self._sizes(view)
        where, breaks = view.full_layers, frozenset({Need.CHUNK_INVARIANT, Need.PADDING, Need.ROLLBACK, Need.TREE})
        yield Edit(slot=Slot.INDEX, where=where, make=lambda _: ChunkRanks(length))
        yield Edit(
            slot=Slot.ATTEND,
            where=where,
            make=lambda ctx: ChunkHeads(ctx, length, size, self.query_block),
            needs=frozenset({Need.QUERIES}),
            breaks=breaks,
        )
        yield Edit(slot=Slot.KEEP, where=where, make=lambda _: HoldAll())

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """Everything is held; vectors of whole chunks and queries of the last one come on top."""
        _, size = self._sizes(view)
        layers = [view.layers[i] for i in view.full_layers]
        vectors = (tokens // size) * sum(layer.num_kv_heads * layer.key_dim for layer in layers)
        queries = (tokens % size) * sum(layer.num_heads * layer.key_dim for layer in layers)
        return replace(before, index_bytes=before.index_bytes + Interval.exact(view.dtype_bytes * (vectors + queries)))

    def chunk(self, tokens: int) -> int | None:
        return self.query_block

    def _sizes(self, view: ModelView) -> tuple[int, int]:
        """(attn_length, chunk_size) where none is given too. Raises RecipeError where too few chunks fit."""
        length = view.trained_length if self.attn_length is None else self.attn_length
        size = max(1, length // 16) if self.chunk_size is None else self.chunk_size
        if 4 * size + self.query_block > length:
            raise RecipeError(
                f"longheads: attn_length={length} has no room for the first chunk, two newest, one chosen "
                f"(chunk_size={size}) and query_block={self.query_block}; lower these or raise attn_length"
            )
        if length > view.trained_length:
            raise RecipeError(
                f"longheads: attn_length={length} is beyond the trained length {view.trained_length}, so distances "
                "would be new to the model; lower it"
            )
        return length, size
