"""Three shapes of sparse attention at equal cost, and how much of a head's attention each catches.

D head width, n entries, M query blocks; one head at a time. Key and query blocks are of one size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ._gathered import Reads, Tiling

LAST_QUERIES = 64  # that show where columns and diagonals are
SAMPLED = 128  # queries on which patterns are compared
FIRST = 30  # columns that are always among those read


@dataclass(frozen=True)
class Pattern:
    """kind: a-shape, vertical-slash or block-sparse; columns of `size` entries are single ones, the rest blocks."""

    kind: str
    columns: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} {self.columns:.0%}" if self.kind == "vertical-slash" else self.kind


PATTERNS = (
    Pattern("a-shape", 1 / 8),
    Pattern("vertical-slash", 1 / 8),
    Pattern("vertical-slash", 1 / 2),
    Pattern("vertical-slash", 7 / 8),
    Pattern("block-sparse"),
)


def reads_of(pattern: Pattern, queries: Tensor, keys: Tensor, tiling: Tiling, size: int, scaling: float) -> Reads:
    """What a head reads: queries [Q, D], keys [n, D]; `size` entries beside a query's own block, in whole blocks as far
    as they are not single columns."""
    own = tiling.own(queries.device)
    columns = min(round(size * pattern.columns), tiling.length)
    num = max(1, (size - columns) // tiling.key_block)
    if pattern.kind == "a-shape":
        first = torch.arange(columns, device=keys.device)
        return Reads(_before(own, torch.arange(1, num + 1, device=keys.device)), first)
    if pattern.kind == "block-sparse":
        return Reads(best_blocks(queries, keys, tiling, num))
    weights = last_weights(queries, keys, scaling)
    return Reads(_before(own, best_distances(weights, tiling, num)), best_columns(weights, columns))


def _before(own: Tensor, distances: Tensor) -> Tensor:
    """[M, m] the blocks at distances [m] before own [M], -1 where there is none."""
    return (own[:, None] - distances).clamp(min=-1)


def last_weights(queries: Tensor, keys: Tensor, scaling: float) -> Tensor:
    """[w, n] float32 probabilities of the last w queries."""
    last = queries[-LAST_QUERIES:]
    logits = (last @ keys.T).float() * scaling
    return logits.masked_fill(_later(len(last), len(keys), keys.device), float("-inf")).softmax(-1)


def _later(num_queries: int, length: int, device: torch.device) -> Tensor:
    """[Q, n] True where an entry stands behind a query, the queries being the last of them."""
    return torch.ones(num_queries, length, dtype=torch.bool, device=device).triu(length - num_queries + 1)


def best_columns(weights: Tensor, num: int) -> Tensor:
    """[c] ascending: the entries that got most of weights [w, n], the first ones always."""
    got = weights.sum(0)
    got[:FIRST] = float("inf")
    return got.topk(min(num, len(got))).indices.sort().values


def best_distances(weights: Tensor, tiling: Tiling, num: int) -> Tensor:
    """[m] block distances, of those above 0, on which most of weights [w, n] lies; 1 is always among them."""
    rows, length = weights.shape
    query, key = (torch.arange(a, length, device=weights.device) // tiling.key_block for a in (length - rows, 0))
    distance = (query[:, None] - key).clamp(min=0)
    got = weights.new_zeros(int(query[-1]) + 1).scatter_add_(0, distance.flatten(), weights.flatten())
    if len(got) == 1:
        return torch.ones(1, dtype=torch.long, device=weights.device)
    got[1] = float("inf")
    return got[1:].topk(min(num, len(got) - 1)).indices + 1


def best_blocks(queries: Tensor, keys: Tensor, tiling: Tiling, num: int) -> Tensor:
    """[M, m] for each query block the blocks before it whose mean key is most like its mean query; -1 fills up."""
    size, own = tiling.query_block, tiling.own(queries.device)
    ahead = tiling.first - tiling.start * size
    tiles = functional.pad(queries, (0, 0, ahead, tiling.num_blocks * size - ahead - len(queries)))
    means = tiles.unflatten(0, (-1, size)).sum(1) / tiling.num_rows(queries.device)[:, None]
    stored = functional.pad(keys, (0, 0, 0, -len(keys) % size)).unflatten(0, (-1, size)).mean(1)
    scores = (means @ stored.T).float()
    late = torch.arange(len(stored), device=own.device) >= own[:, None]
    found = scores.masked_fill_(late, float("-inf")).topk(min(num, len(stored)), dim=1)
    return found.indices.masked_fill(found.values == float("-inf"), -1)


def caught(weights: Tensor, places: Tensor, reads: Reads, tiling: Tiling) -> float:
    """The share of the attention of some queries that lies on what they read: weights [s, n] of the queries that stand
    at entries places [s]."""
    length, size = weights.shape[1], tiling.key_block
    tile = places // tiling.query_block
    blocks = torch.cat([reads.blocks[tile - tiling.start], tile[:, None]], dim=1)
    seen = torch.zeros(len(places), -(-length // size) + 1, dtype=torch.bool, device=weights.device)
    seen.scatter_(1, blocks + 1, True)  # 0 stands for none
    read = seen[:, 1:].repeat_interleave(size, dim=1)[:, :length]
    if reads.columns is not None:
        read[:, reads.columns] = True
    return float((weights * read).sum() / weights.sum())


def sampled_weights(queries: Tensor, keys: Tensor, scaling: float) -> tuple[Tensor, Tensor]:
    """([s, n] float32 probabilities, [s] entries) of queries spread evenly over queries [Q, D]."""
    size, length = len(queries), len(keys)
    picked = torch.linspace(0, size - 1, min(SAMPLED, size), device=keys.device).long()
    places = picked + length - size
    logits = (queries[picked] @ keys.T).float() * scaling
    later = torch.arange(length, device=keys.device) > places[:, None]
    return logits.masked_fill_(later, float("-inf")).softmax(-1), places


def best_pattern(queries: Tensor, keys: Tensor, tiling: Tiling, size: int, scaling: float) -> tuple[Pattern, float]:
    """The pattern that catches most of a head's attention, and the share it catches."""
    weights, places = sampled_weights(queries, keys, scaling)
    found = [(caught(weights, places, reads_of(p, queries, keys, tiling, size, scaling), tiling), p) for p in PATTERNS]
    share, pattern = max(found, key=lambda pair: pair[0])
    return pattern, share
