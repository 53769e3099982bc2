"""Attention that reads, for each block of queries, only some blocks of keys and some single ones: what is not read is
not multiplied.

Entries are numbered as they are held; the queries are the last Q of the n entries. A query block is `query_block`
entries that share what they read, a key block `key_block`, which divides it. Every query block reads itself, causally.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

SCORES_AT_ONCE = 2**20  # of one head, in memory together


@dataclass(frozen=True)
class Reads:
    """What the query blocks of one head read beside themselves.

    blocks [M, m]: key blocks, all before the query block and each once; -1 is none. columns [c]: entries that every
    query block behind them reads where no block of its own holds them."""

    blocks: Tensor
    columns: Tensor | None = None


@dataclass(frozen=True)
class Tiling:
    """How Q queries at the end of n entries fall into M blocks; `start` is the number of the first."""

    num_queries: int
    length: int
    query_block: int
    key_block: int

    @property
    def first(self) -> int:
        return self.length - self.num_queries

    @property
    def start(self) -> int:
        return self.first // self.query_block

    @property
    def num_blocks(self) -> int:
        return -(-self.length // self.query_block) - self.start

    @property
    def per_block(self) -> int:
        """Key blocks of a query block."""
        return self.query_block // self.key_block

    def own(self, device: torch.device) -> Tensor:
        """[M] numbers of the query blocks."""
        return torch.arange(self.start, self.start + self.num_blocks, device=device)

    def num_rows(self, device: torch.device) -> Tensor:
        """[M] queries that stand in each block."""
        begin = self.own(device) * self.query_block
        return (begin + self.query_block).clamp(max=self.length) - begin.clamp(min=self.first)

    @property
    def causal_pairs(self) -> int:
        return self.num_queries * (self.first + self.length + 1) // 2

    def own_pairs(self) -> int:
        """Pairs of a query and an entry of its own block up to it."""
        places = torch.arange(self.first, self.length)
        return int((places % self.query_block + 1).sum())


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, reads: Sequence[Reads], tiling: Tiling, scaling: float
) -> tuple[Tensor, int]:
    """[B, Hq, Q, Dv], and how many pairs of query and key were multiplied.

    queries [B, Hq, Q, D], keys [B, H, n, D], values [B, H, n, Dv]; reads: one for every head of every row, B * Hq."""
    batch, heads, size, _ = queries.shape
    ahead = tiling.first - tiling.start * tiling.query_block
    behind = tiling.num_blocks * tiling.query_block - ahead - size
    tiles = (
        functional.pad(queries * scaling, (0, 0, ahead, behind)).unflatten(2, (-1, tiling.query_block)).flatten(0, 1)
    )
    stored = [_in_blocks(x, tiling.key_block, tiling.query_block) for x in (keys, values)]
    flat = (keys.flatten(0, 1), values.flatten(0, 1))
    outputs, pairs = [], 0
    for row, read in enumerate(reads):
        place = key_row(row, heads, keys.shape[1])
        sides = (stored[0][place], stored[1][place])
        columns = None if read.columns is None else (flat[0][place, read.columns], flat[1][place, read.columns])
        outputs.append(_Head(tiles[row], sides, columns, read, tiling).attended())
        pairs += num_pairs(read, tiling)
    found = torch.stack(outputs).flatten(1, 2)[:, ahead : ahead + size]
    return found.unflatten(0, (batch, heads)), pairs


def key_row(row: int, heads: int, kv_heads: int) -> int:
    """The row of keys [B * H, ...] that row `row` of queries [B * Hq, ...] reads."""
    return row // heads * kv_heads + row % heads * kv_heads // heads


def num_pairs(read: Reads, tiling: Tiling) -> int:
    """Pairs of query and key that one head multiplies."""
    rows = tiling.num_rows(read.blocks.device)
    per_row = (read.blocks >= 0).sum(1) * tiling.key_block
    if read.columns is not None:
        per_row = per_row + (~_hidden(read.columns, read.blocks, tiling.own(rows.device), tiling)).sum(1)
    return int((per_row * rows).sum()) + tiling.own_pairs()


def _in_blocks(x: Tensor, key_block: int, query_block: int) -> Tensor:
    """x [B, H, n, D] -> [B * H, N, key_block, D], zeros behind the last entry up to a whole query block."""
    missing = -x.shape[2] % query_block
    return functional.pad(x, (0, 0, 0, missing)).unflatten(2, (-1, key_block)).flatten(0, 1)


def _hidden(columns: Tensor, blocks: Tensor, own: Tensor, tiling: Tiling) -> Tensor:
    """[c', c] True where a column is read otherwise, or not yet: blocks [c', m] of the query blocks own [c']."""
    late = columns[None] >= own[:, None] * tiling.query_block
    read = torch.zeros(len(own), -(-tiling.length // tiling.key_block) + 1, dtype=torch.bool, device=own.device)
    read.scatter_(1, blocks + 1, True)  # 0 stands for none
    return late | read[:, columns // tiling.key_block + 1]


class _Scratch:
    """Memory that is used again and again: a fresh piece costs more than what is written into it."""

    def __init__(self, like: Tensor, size: int) -> None:
        self._memory = None if like.requires_grad else like.new_empty(size)

    def __call__(self, *shape: int) -> Tensor | None:
        """None where gradients forbid it."""
        return None if self._memory is None else self._memory[: math.prod(shape)].view(shape)


@dataclass
class _Head:
    """One head: scaled tiles [M, query_block, D], keys and values [N, key_block, D] in blocks, those of the columns
    [c, D], and memory for what is gathered and for masks."""

    tiles: Tensor
    sides: tuple[Tensor, Tensor]
    columns: tuple[Tensor, Tensor] | None
    read: Reads
    tiling: Tiling

    def attended(self) -> Tensor:
        """[M, query_block, Dv]"""
        tiling, blocks = self.tiling, self.read.blocks
        own = tiling.own(blocks.device)
        width = blocks.shape[1] * tiling.key_block + tiling.query_block
        width += 0 if self.read.columns is None else len(self.read.columns)
        step = min(max(1, SCORES_AT_ONCE // (width * tiling.query_block)), tiling.num_blocks)
        sizes = [step * width * side.shape[-1] for side in self.sides]
        self.gathered, self.joined = (
            [_Scratch(x, n) for x, n in zip(self.sides, sizes, strict=True)] for _ in range(2)
        )
        self.masks = _Scratch(self.tiles, step * width * tiling.query_block)
        parts = []
        for start in range(0, tiling.num_blocks, step):
            rows = slice(start, start + step)
            some = blocks[rows]
            parts.append(self._some(self.tiles[rows], some[:, (some >= 0).any(0)], own[rows]))
        return torch.cat(parts)

    def _some(self, tiles: Tensor, before: Tensor, own: Tensor) -> Tensor:
        """Of the query blocks own [c'], which read the blocks before [c', m] and themselves."""
        device, tiling = tiles.device, self.tiling
        mine = own[:, None] * tiling.per_block + torch.arange(tiling.per_block, device=device)
        blocks = torch.cat([before, mine], dim=1)
        keys, values = (self._gather(side, blocks.clamp(min=0)) for side in range(2))
        absent = (blocks < 0).repeat_interleave(tiling.key_block, dim=1)
        if self.read.columns is not None:
            absent = torch.cat([_hidden(self.read.columns, before, own, tiling), absent], dim=1)
        return functional.scaled_dot_product_attention(
            tiles[:, None], keys[:, None], values[:, None], attn_mask=self._mask(absent, tiles), scale=1.0
        )[:, 0]

    def _mask(self, absent: Tensor, tiles: Tensor) -> Tensor:
        """[c' | 1, 1, query_block, w] to be added: -inf at absent [c', w], and behind a query in its own block."""
        size = self.tiling.query_block
        some = absent if bool(absent.any()) else absent[:1]
        shape = (len(some), 1, size, some.shape[1])
        mask = self.masks(*shape)
        mask = tiles.new_empty(shape) if mask is None else mask
        mask.copy_(tiles.new_zeros(some.shape).masked_fill_(some, float("-inf"))[:, None, None])
        later = torch.ones(size, size, dtype=torch.bool, device=tiles.device).triu(1)
        mask[..., -size:].masked_fill_(later, float("-inf"))
        return mask

    def _gather(self, which: int, blocks: Tensor) -> Tensor:
        """[c', w, D] of keys (0) or values (1): the columns, then blocks [c', m]."""
        side, count = self.sides[which], blocks.numel()
        flat = side.flatten(1)
        found = torch.index_select(flat, 0, blocks.flatten(), out=self.gathered[which](count, flat.shape[1]))
        found = found.view(len(blocks), -1, side.shape[-1])
        if self.columns is None:
            return found
        single = self.columns[which].expand(len(blocks), -1, -1)
        shape = (len(blocks), single.shape[1] + found.shape[1], side.shape[-1])
        return torch.cat([single, found], dim=1, out=self.joined[which](*shape))
