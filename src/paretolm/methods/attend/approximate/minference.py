"""MInference: each head has a sparse pattern of its own, whose places are found anew in every prompt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from paretolm.contracts import Budget, Edit, Method, ModelView, OpenContext, knob

from ._gathered import Reads, Tiling, key_row
from ._patterns import PATTERNS, Pattern, best_pattern, reads_of
from ._prefill import SparsePrefill, prefill_edit


@dataclass
class PatternedPrefill(SparsePrefill):
    method: MInference

    def reads(self, queries: Tensor, keys: Tensor, tiling: Tiling, scaling: float) -> Sequence[Reads] | None:
        size = self.method.budget.tokens(tiling.length)
        if size + self.query_block >= tiling.length:
            return None
        heads, kv_heads = queries.shape[1], keys.shape[1]
        flat, stored = queries.flatten(0, 1), keys.flatten(0, 1)
        pairs = [(q, stored[key_row(row, heads, kv_heads)]) for row, q in enumerate(flat)]
        table = self._table(pairs[:heads], tiling, size, scaling)
        return [reads_of(table[i % heads], q, k, tiling, size, scaling) for i, (q, k) in enumerate(pairs)]

    def _table(
        self, pairs: Sequence[tuple[Tensor, Tensor]], tiling: Tiling, size: int, scaling: float
    ) -> list[Pattern]:
        """The pattern of each head, chosen at the first prompt of the session."""
        if self.method.pattern != "search":
            return [next(p for p in PATTERNS if p.kind == self.method.pattern)] * len(pairs)
        tables: dict[object, list[Pattern]] = self.ctx.kept(dict)
        if self.ctx.place not in tables:
            found = [best_pattern(q, k, tiling, size, scaling) for q, k in pairs]
            tables[self.ctx.place] = [pattern for pattern, _ in found]
            told = [f"{pattern}, {share:.1%} caught" for pattern, share in found]
            self.ctx.note(f"patterns of layer {self.ctx.place}", told)
        return tables[self.ctx.place]


@dataclass(frozen=True, kw_only=True)
class MInference(Method):
    """Reads a prompt in one of three patterns a head: first and near entries, columns and diagonals, or blocks.

    MInference 1.0: Accelerating Pre-filling for Long-Context LLMs via Dynamic Sparse Attention (2407.02490), section 3.
    The pattern of a head is chosen once, as the one that catches most of its attention at equal cost: a-shape (the
    first entries and the nearest blocks), vertical-slash (columns and diagonals on which the attention of the last 64
    queries lies) or block-sparse (blocks whose mean key is most like the mean query). Where its columns, diagonals and
    blocks lie is found in every prompt. What follows the prompt is read densely. The report notes each head's pattern
    and the share of attention it caught; pairs_unread counts pairs of query and key.

    Where we leave the paper: the table of patterns comes from the first prompt of a session instead of a search
    beforehand, by the share of attention on sampled queries (the official code's first search) at a size in `budget`,
    not by output error and running time. Diagonals come in bands as wide as a block, since blocks are what is
    gathered. A prompt read in pieces finds its places in each piece. Padded batches are refused.
    """

    papers: ClassVar[tuple[str, ...]] = ("2407.02490",)

    budget: Budget = knob(Budget(10, "%"), help="entries that a query reads beside its own block")
    block_size: int = knob(64, low=1, help="queries and keys of a block")
    pattern: str = knob(
        "search",
        choices=("search", "a-shape", "vertical-slash", "block-sparse"),
        help="search, or one pattern for all heads",
    )

    def plan(self, view: ModelView) -> Iterable[Edit]:
        def make(ctx: OpenContext) -> PatternedPrefill:
            return PatternedPrefill(ctx, self.block_size, self.block_size, self)

        yield prefill_edit(view.full_layers, make)
