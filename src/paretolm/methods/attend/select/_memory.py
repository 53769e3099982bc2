"""Knobs, plan and cost of the methods that look up blocks behind a window."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from paretolm.contracts import Cost, Edit, Interval, Method, ModelView, Need, OpenContext, Slot, knob
from paretolm.errors import RecipeError
from paretolm.methods.keep._cost import SCORE_BYTES

from ._blocks import BlockLookup, Sizes
from ._far import FarAtLimit
from ._hold import HoldAll

BREAKS = frozenset({Need.CHUNK_INVARIANT, Need.PADDING, Need.ROLLBACK, Need.TREE})


@dataclass(frozen=True, kw_only=True)
class BlockMemory(Method):
    """Reads the first entries, the newest, and blocks of what lies between, all far ones at a distance of n_local."""

    n_init: int = knob(128, low=0, help="first entries, always read (n_init)")
    n_local: int | None = knob(None, low=2, help="newest entries, always read (l_L); none: half the trained length")
    block_size: int = knob(128, low=1, help="entries of a block (l_bs)")
    topk: int = knob(16, low=1, help="blocks that are looked up (k)")
    repr_topk: int = knob(4, low=1, help="entries that stand for a block (r_k)")
    exc_block_size: int = knob(64, low=1, help="queries of one forward that look up together (paper: 512)")

    def validate(self) -> None:
        if self.repr_topk > self.block_size:
            raise RecipeError(
                f"{self.name}: repr_topk={self.repr_topk} entries cannot stand for a block of "
                f"block_size={self.block_size}; lower repr_topk"
            )

    def plan(self, view: ModelView) -> Iterable[Edit]:
        sizes, where = self.sizes(view), view.full_layers
        yield Edit(slot=Slot.INDEX, where=where, make=lambda _: FarAtLimit(sizes.n_local))
        yield Edit(
            slot=Slot.ATTEND,
            where=where,
            make=lambda ctx: self.lookup(ctx, sizes),
            needs=frozenset({Need.QUERIES}),
            breaks=BREAKS,
        )
        yield Edit(slot=Slot.KEEP, where=where, make=lambda _: HoldAll())

    def lookup(self, ctx: OpenContext, sizes: Sizes) -> BlockLookup:
        """The ATTEND part of one layer."""
        return BlockLookup(ctx, sizes, self.exc_block_size, self.topk)

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """Everything is held; a vector a block and the attention received by what is in none come on top."""
        sizes, layers = self.sizes(view), [view.layers[i] for i in view.full_layers]
        vectors = sizes.blocks(tokens) * view.dtype_bytes * sum(layer.num_kv_heads * layer.key_dim for layer in layers)
        scores = SCORE_BYTES * max(0, tokens - self.n_init) * sum(layer.num_kv_heads for layer in layers)
        return replace(before, index_bytes=before.index_bytes + Interval(0, vectors + scores))

    def chunk(self, tokens: int) -> int | None:
        return self.exc_block_size

    def sizes(self, view: ModelView) -> Sizes:
        """Raises RecipeError where a distance would be new to the model."""
        n_local = max(2, view.trained_length // 2) if self.n_local is None else self.n_local
        if n_local > view.trained_length:
            raise RecipeError(
                f"{self.name}: n_local={n_local} is beyond the trained length {view.trained_length}, so distances would "
                "be new to the model; lower it"
            )
        if self.exc_block_size > n_local:
            raise RecipeError(
                f"{self.name}: exc_block_size={self.exc_block_size} queries do not fit into their own window of "
                f"n_local={n_local}; lower exc_block_size"
            )
        return Sizes(self.n_init, n_local, self.block_size, self.repr_topk)
