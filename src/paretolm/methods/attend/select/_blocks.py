"""Memory in blocks behind a local window: what stands for a block, and which blocks a window of queries looks up.

Shapes: B batch, Hq query heads, H key-value heads, Q queries, D head width, M blocks, r representatives of a block.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from paretolm.contracts import Held, OpenContext, Step
from paretolm.methods.keep._ranking import top

from ._choice import attention


@dataclass(frozen=True)
class Sizes:
    """Entries at the start (n_init) and in the window (n_local) are always read; between them lie blocks."""

    n_init: int
    n_local: int
    block_size: int
    repr_topk: int

    def blocks(self, length: int) -> int:
        """Whole blocks that have left the window of a text."""
        return max(0, length - self.n_init - self.n_local) // self.block_size

    def begin(self, blocks: int) -> int:
        """The entry behind so many blocks."""
        return self.n_init + blocks * self.block_size


def local_attention(queries: Tensor, keys: Tensor, first: int, start: int, n_local: int) -> Tensor:
    """[B, H, n] attention that the keys get from queries whose windows of n_local hold them, summed over queries and a
    group's heads. queries [B, Hq, Q, D] stand at entries first, first + 1, ...; keys [B, H, n, D] at start, ..."""
    own = torch.arange(first, first + queries.shape[2], device=keys.device)[:, None]
    entries = torch.arange(start, start + keys.shape[2], device=keys.device)
    return attention(queries, keys, (entries <= own) & (own - entries < n_local)).sum((2, 3))


def represent(keys: Tensor, received: Tensor, repr_topk: int) -> Tensor:
    """[B, H, D]: the mean of the keys of a block that got most attention. keys [B, H, l, D], received [B, H, l]."""
    index = top(received, repr_topk)[..., None].expand(-1, -1, -1, keys.shape[-1])
    return keys.gather(2, index).mean(2)


def relevance(probe: Tensor, blocks: Tensor) -> Tensor:
    """[B, M] float32: the mean over all query heads of the product of probe [B, Hq, D] with blocks [B, H, M, D]."""
    grouped = probe.unflatten(1, (blocks.shape[1], -1)).float()
    return torch.einsum("bhgd,bhmd->bhgm", grouped, blocks.float()).mean((1, 2))


def entries_read(picked: Tensor, sizes: Sizes, blocks: int, length: int) -> Tensor:
    """[B, 1, m] ascending: the first entries, the picked blocks [B, k] (ascending), and all behind the last block."""
    device = picked.device
    within = torch.arange(sizes.block_size, device=device)
    far = (sizes.n_init + picked[..., None] * sizes.block_size + within).flatten(1)
    ends = (torch.arange(sizes.n_init, device=device), torch.arange(sizes.begin(blocks), length, device=device))
    first, rest = (x.expand(picked.shape[0], -1) for x in ends)
    return torch.cat([first, far, rest], dim=1)[:, None]


@dataclass
class BlockLookup:
    """The ATTEND part. vectors [B, H, M, D] stand for blocks, as keys at position 0; received [B, H, r] is what the
    entries behind them got so far."""

    ctx: OpenContext
    sizes: Sizes
    block: int
    topk: int
    vectors: Tensor | None = field(default=None, init=False)
    received: Tensor | None = field(default=None, init=False)

    def probe(self, queries: Tensor) -> Tensor:
        """[B, Hq, D]: the one query that looks up for a window's, [B, Hq, Q, D]."""
        return queries.mean(2)

    def number(self, scores: Tensor, num_queries: int) -> int:
        """How many blocks are looked up, by their scores [B, M]."""
        return self.topk

    def select(self, queries: Tensor, held: Held, step: Step) -> Tensor | None:
        first = held.length - queries.shape[2]
        self._form(held, first)
        index = self._look_up(queries, held, first)
        self._observe(queries, held, first)
        return index

    def _look_up(self, queries: Tensor, held: Held, first: int) -> Tensor | None:
        at = torch.arange(first, held.length, device=queries.device)[None, None]
        probe = self.probe(held.turned(queries, self.sizes.n_local - at))
        if self.vectors is None:
            return None
        scores, blocks = relevance(probe, self.vectors), self.vectors.shape[2]
        num = min(self.number(scores, queries.shape[2]), blocks)
        self.ctx.count("blocks_looked_up", num)
        self.ctx.count("entries_unread", (blocks - num) * self.sizes.block_size * queries.shape[2])
        return None if num == blocks else entries_read(top(scores, num), self.sizes, blocks, held.length)

    def _form(self, held: Held, first: int) -> None:
        """Blocks of what has left the window before the first query."""
        known = 0 if self.vectors is None else self.vectors.shape[2]
        for block in range(known, self.sizes.blocks(first)):
            assert self.received is not None
            start, size = self.sizes.begin(block), self.sizes.block_size
            entries = torch.arange(start, start + size, device=self.received.device)[None, None]
            keys = held.turned(held.keys(entries), -entries)
            vector = represent(keys, self.received[..., :size], self.sizes.repr_topk)[:, :, None]
            self.vectors = vector if self.vectors is None else torch.cat([self.vectors, vector], dim=2)
            self.received = self.received[..., size:].clone()

    def _observe(self, queries: Tensor, held: Held, first: int) -> None:
        """Adds the attention of these queries to the entries of their windows that are in no block."""
        base = self.sizes.begin(0 if self.vectors is None else self.vectors.shape[2])
        start = max(0, first - self.sizes.n_local + 1)
        if held.length <= base:
            return
        entries = torch.arange(start, held.length, device=queries.device)[None, None]
        found = local_attention(queries, held.keys(entries), first, start, self.sizes.n_local)
        total = torch.zeros(*found.shape[:2], held.length - base, device=found.device)
        if self.received is not None:
            total[..., : self.received.shape[-1]] = self.received
        skipped, offset = max(0, base - start), max(0, start - base)
        total[..., offset:] += found[..., skipped:]
        self.received = total

    def tensors(self) -> Iterable[Tensor]:
        return (t for t in (self.vectors, self.received) if t is not None)

    def select_rows(self, rows: Tensor) -> None:
        self.vectors = None if self.vectors is None else self.vectors[rows]
        self.received = None if self.received is None else self.received[rows]
