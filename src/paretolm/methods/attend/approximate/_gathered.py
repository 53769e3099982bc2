"""Attention that reads, for each block of queries, only some blocks of keys and some single ones: what is not read is
not multiplied.

Entries are numbered as they are held; the queries are the last Q of the n entries. A query block is `query_block`
entries that share what they read, a key block `key_block`, which divides it. Every query block reads itself, causally.
"""

from __future__ import annotations

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
        columns = None if read.columns is None else tuple(x[place, read.columns] for x in flat)
        outputs.append(_head(tiles[row], sides, columns, read, tiling))
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


def _head(
    tiles: Tensor,
    sides: tuple[Tensor, Tensor],
    single: tuple[Tensor, ...] | None,
    read: Reads,
    tiling: Tiling,
) -> Tensor:
    """[M, query_block, Dv] of one head: scaled tiles [M, query_block, D], sides [N, key_block, D] in blocks."""
    width = read.blocks.shape[1] * tiling.key_block + tiling.query_block
    width += 0 if read.columns is None else len(read.columns)
    step = max(1, SCORES_AT_ONCE // (width * tiling.query_block))
    own, parts = tiling.own(tiles.device), []
    for start in range(0, tiling.num_blocks, step):
        rows = slice(start, start + step)
        blocks = read.blocks[rows]
        some = Reads(blocks[:, (blocks >= 0).any(0)], read.columns)
        parts.append(_some(tiles[rows], sides, single, some, own[rows], tiling))
    return torch.cat(parts)


def _some(
    tiles: Tensor,
    sides: tuple[Tensor, Tensor],
    single: tuple[Tensor, ...] | None,
    read: Reads,
    own: Tensor,
    tiling: Tiling,
) -> Tensor:
    """As `_head`, for the query blocks `own`."""
    device, size = tiles.device, tiling.query_block
    mine = own[:, None] * tiling.per_block + torch.arange(tiling.per_block, device=device)
    blocks = torch.cat([read.blocks, mine], dim=1)
    keys, values = (_gather(side, blocks.clamp(min=0)) for side in sides)
    logits = torch.bmm(tiles, keys.transpose(1, 2))
    absent = blocks < 0
    if bool(absent.any()):
        logits.masked_fill_(absent.repeat_interleave(tiling.key_block, dim=1)[:, None], float("-inf"))
    logits[..., -size:].masked_fill_(torch.ones(size, size, dtype=torch.bool, device=device).triu(1), float("-inf"))
    if single is None:
        return torch.bmm(logits.float().softmax(-1).to(tiles.dtype), values)
    assert read.columns is not None
    beside = torch.matmul(tiles, single[0].T)
    beside.masked_fill_(_hidden(read.columns, read.blocks, own, tiling)[:, None], float("-inf"))
    weights = torch.cat([logits, beside], dim=-1).float().softmax(-1).to(tiles.dtype)
    width = logits.shape[-1]
    return torch.bmm(weights[..., :width], values) + torch.matmul(weights[..., width:], single[1])


def _gather(side: Tensor, blocks: Tensor) -> Tensor:
    """[c', m * b, D] of side [N, b, D] at blocks [c', m]."""
    return side.flatten(1).index_select(0, blocks.flatten()).view(len(blocks), -1, side.shape[-1])
