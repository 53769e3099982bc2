"""PowerAttention: near blocks, and those at distances that are powers of two."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import Edit, Held, Method, ModelView, Moment, Need, OpenContext, Slot, Step, knob
from paretolm.errors import RecipeError
from paretolm.methods.attend.approximate._gathered import Reads, Tiling, attend


def readable(distance: Tensor, num_local: int) -> Tensor:
    """True for block distances below num_local, and for powers of two; same shape."""
    return (distance < num_local) | ((distance & (distance - 1)) == 0)


def blocks_read(own: Tensor, num_local: int) -> Tensor:
    """[M, m] key blocks before each of the query blocks own [M]; -1 where a distance leads before the text."""
    distances = torch.arange(1, max(2, int(own[-1]) + 1), device=own.device)
    blocks = own[:, None] - distances[readable(distances, num_local)]
    return blocks.clamp(min=-1)


@dataclass(frozen=True)
class PowerMask:
    """The ATTEND part: a long forward of a whole text is computed from gathered blocks, any other through a mask, and
    one query reads only the entries it may."""

    ctx: OpenContext
    num_local: int
    block_size: int

    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        if int(query_positions.max()) // self.block_size < max(self.num_local, 3):
            return None  # distances 0, 1 and 2 are always readable
        query, key = (x // self.block_size for x in (query_positions, key_positions))
        return readable(query[:, None, :, None] - key[:, :, None, :], self.num_local)

    def select(self, queries: Tensor, held: Held, step: Step) -> Tensor | None:
        if step.num_queries > 1 or step.moment is Moment.VERIFY:
            return None
        seen = self.visible(step.positions, held.positions)
        if seen is None:
            return None
        self.ctx.count("entries_unread", int((~seen[:, :, 0] & (held.positions >= 0)).sum()))
        return seen[0, 0, 0].nonzero()[None, None, :, 0] if seen.shape[:2] == (1, 1) else None

    def compute(
        self, queries: Tensor, held: Held, allowed: Callable[[], Tensor | None], scaling: float, step: Step
    ) -> Tensor | None:
        whole = held.length == held.seen + step.num_queries  # nothing has left, so entries stand at their positions
        if step.num_queries <= self.block_size or not whole or allowed() is not None:
            return None
        if (held.length - 1) // self.block_size < max(self.num_local, 3):
            return None
        tiling = Tiling(step.num_queries, held.length, self.block_size, self.block_size)
        reads = [Reads(blocks_read(tiling.own(queries.device), self.num_local))] * (queries.shape[0] * queries.shape[1])
        output, pairs = attend(queries, held.keys(), held.values(), reads, tiling, scaling)
        self.ctx.count("entries_unread", len(reads) * tiling.causal_pairs - pairs)
        return output


@dataclass(frozen=True, kw_only=True)
class PowerAttention(Method):
    """Reads a local window, and blocks whose distance is a power of two; a token far away is reached over layers.

    PowerAttention: Exponentially Scaling of Receptive Fields for Effective Sparse Attention (2503.03588). Every
    distance is a sum of powers of two, so d layers reach 2^d blocks while a query reads only about log2 of them. The
    same static pattern holds for the prompt and for what follows it. Nothing is evicted, since every entry is read by
    some later query. entries_unread counts pairs of query and key that were left out, over heads where blocks were
    gathered, once where a mask serves all heads.

    Where we leave the paper (its code could not be had): distances are counted in whole blocks, which also are the
    unit that is gathered, where the window's edge is a block's; with block_size=1 they are tokens. The model is not
    tuned to the pattern, as the paper's are.
    """

    papers: ClassVar[tuple[str, ...]] = ("2503.03588",)

    window: int = knob(256, low=1, help="nearest tokens, whole blocks, the query's own included")
    block_size: int = knob(64, low=1, help="tokens of a block, the unit of distance")

    def validate(self) -> None:
        if self.window % self.block_size:
            raise RecipeError(
                f"power-attention: window={self.window} is no multiple of block_size={self.block_size}; "
                "give a window of whole blocks"
            )

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(
            slot=Slot.ATTEND,
            where=view.full_layers,
            make=lambda ctx: PowerMask(ctx, self.window // self.block_size, self.block_size),
            breaks=frozenset({Need.FULL_SCORES}),
        )
