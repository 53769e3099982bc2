"""HiP attention: a tree search over blocks of keys finds what a block of queries reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from paretolm.contracts import Edit, Method, ModelView, OpenContext, knob
from paretolm.errors import RecipeError

from ._gathered import Reads, Tiling, key_row
from ._prefill import SparsePrefill, prefill_edit

BLOCKS_AT_ONCE = 64  # query blocks of one head that are searched together


def halves(starts: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Ranges [M, k] of blocks cut in two: (starts, sizes), both [M, 2k]; the first half of one block is empty."""
    left = sizes // 2
    both = torch.stack([starts, starts + left], -1), torch.stack([left, sizes - left], -1)
    return both[0].flatten(1), both[1].flatten(1)


def likeness(tiles: Tensor, rows: Tensor, keys: Tensor, entries: Tensor) -> Tensor:
    """[M, c] the largest product of a query of each tile with each of its entries.

    tiles [M, s, D], rows [M, s] True for real queries, keys [n, D], entries [M, c]."""
    found = torch.bmm(tiles, keys[entries].transpose(1, 2))
    return found.masked_fill_(~rows[..., None], torch.finfo(found.dtype).min).amax(1)


def tree_search(
    tiles: Tensor, rows: Tensor, keys: Tensor, limit: Tensor, num: int, key_block: int = 1, begin: int = 0
) -> tuple[Tensor, int]:
    """([M, num] the blocks in [begin, limit) that each tile reads, -1 fills up; pairs of query and key compared).

    keys [n, D], limit [M]. The range is cut in `num` parts; every part in two, each half is judged by the key in its
    middle, the best `num` halves are cut again, until all are single blocks."""
    span = (limit - begin).clamp(min=0)[:, None]
    edges = span * torch.arange(num + 1, device=limit.device) // num
    starts, sizes = edges[:, :-1] + begin, edges.diff(dim=1)
    compared, searched = 0, (span > num)[:, 0]
    while bool((sizes > 1).any()):
        cut, cut_sizes = halves(starts, sizes)
        middle = cut * key_block + cut_sizes * key_block // 2
        scores = likeness(tiles, rows, keys, middle.clamp(max=len(keys) - 1))
        best = scores.masked_fill_(cut_sizes == 0, float("-inf")).topk(num, dim=1).indices
        starts, sizes = cut.gather(1, best), cut_sizes.gather(1, best)
        real = (cut_sizes > 0).sum(1) * rows.sum(1)
        compared += int(real[searched].sum())
    return starts.masked_fill(sizes == 0, -1), compared


@dataclass
class TreePrefill(SparsePrefill):
    method: HipAttention

    def reads(self, queries: Tensor, keys: Tensor, tiling: Tiling, scaling: float) -> Sequence[Reads] | None:
        knobs = self.method
        if knobs.k + knobs.sinks + knobs.window + tiling.query_block >= tiling.length:
            return None
        heads, kv_heads = queries.shape[1], keys.shape[1]
        ahead = tiling.first - tiling.start * tiling.query_block
        behind = tiling.num_blocks * tiling.query_block - ahead - tiling.num_queries
        tiles = functional.pad(queries, (0, 0, ahead, behind)).unflatten(2, (-1, tiling.query_block)).flatten(0, 1)
        places = torch.arange(tiling.num_blocks * tiling.query_block, device=queries.device)
        rows = ((places >= ahead) & (places < ahead + tiling.num_queries)).unflatten(0, (-1, tiling.query_block))
        every_other, stored = slice((tiling.query_block - 1) % 2, None, 2), keys.flatten(0, 1)
        tiles, rows = tiles[:, :, every_other], rows[:, every_other]
        found = [self._head(tiles[i], rows, stored[key_row(i, heads, kv_heads)], tiling) for i in range(len(tiles))]
        return [Reads(one) for one in found]

    def _head(self, tiles: Tensor, rows: Tensor, keys: Tensor, tiling: Tiling) -> Tensor:
        """[M, m] sinks, what the search finds, and the window."""
        knobs, size = self.method, tiling.key_block
        own = tiling.own(tiles.device) * tiling.per_block
        window = own[:, None] - torch.arange(knobs.window // size, 0, -1, device=own.device)
        limit = (own - knobs.window // size).clamp(min=0)
        begin = knobs.sinks // size
        sinks = torch.arange(begin, device=own.device).expand(len(own), -1)
        sinks = sinks.masked_fill(sinks >= limit[:, None], -1)
        parts = []
        for start in range(0, len(tiles), BLOCKS_AT_ONCE):
            some = slice(start, start + BLOCKS_AT_ONCE)
            found, compared = tree_search(tiles[some], rows[some], keys, limit[some], knobs.k // size, size, begin)
            self.ctx.count("pairs_compared", compared)
            parts.append(found)
        return torch.cat([sinks, torch.cat(parts), window.clamp(min=-1)], dim=1)


@dataclass(frozen=True, kw_only=True)
class HipAttention(Method):
    """Reads of the prompt, for every block of queries, the newest keys and those that a search in a tree finds.

    HiP Attention: Sparse Sub-Quadratic Attention with Hierarchical Attention Pruning (2406.09827), section 3. The
    entries before a query block are cut in as many ranges as blocks are to be found; each range is cut in two, each
    half is judged by the key in its middle alone (what is near is alike), the better halves are cut again, down to
    single blocks: T log T comparisons. Every other query of a block judges. k keys, the first `sinks` and the newest
    `window` are then read exactly. What follows the prompt is read densely. pairs_compared counts products of the
    search, pairs_unread those that attention saved.

    Where we leave the paper: every head searches for itself, and in the prompt alone, while the official code also
    decodes sparsely; blocks of keys are 8 wide rather than 1 or 2, since gathering is done by tensor operations and
    not by a kernel; a half's key is the one in its middle, not those of its first block. Padded batches are refused.
    """

    papers: ClassVar[tuple[str, ...]] = ("2406.09827",)

    k: int = knob(512, low=1, help="keys that the search finds for a query block (k)")
    query_block: int = knob(64, low=1, help="queries that share what they read (b_q)")
    key_block: int = knob(8, low=1, help="keys of a block, which divide all other sizes (b_k)")
    window: int = knob(64, low=0, help="newest entries before a query block, always read")
    sinks: int = knob(16, low=0, help="first entries, always read")

    def validate(self) -> None:
        for name in ("k", "query_block", "window", "sinks"):
            if getattr(self, name) % self.key_block:
                raise RecipeError(
                    f"hip-attention: {name}={getattr(self, name)} is no multiple of key_block={self.key_block}; "
                    "give whole blocks of keys"
                )

    def plan(self, view: ModelView) -> Iterable[Edit]:
        def make(ctx: OpenContext) -> TreePrefill:
            return TreePrefill(ctx, self.query_block, self.key_block, self)

        yield prefill_edit(view.full_layers, make)
