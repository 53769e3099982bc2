"""Reading a prompt sparsely; what follows it is read densely."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from paretolm.contracts import Edit, Held, Moment, Need, OpenContext, Place, Slot, Step

from ._gathered import Reads, Tiling, attend

PROMPT = (Moment.PREFILL, Moment.PREFILL_END)


@dataclass
class SparsePrefill(ABC):
    """The ATTEND part: of each forward of a prompt, every block of queries reads what `reads` says."""

    ctx: OpenContext
    query_block: int
    key_block: int

    @abstractmethod
    def reads(self, queries: Tensor, keys: Tensor, tiling: Tiling, scaling: float) -> Sequence[Reads] | None:
        """One for every query head of every row, or None to read all. queries [B, Hq, Q, D], keys [B, H, n, D]."""

    def compute(
        self, queries: Tensor, held: Held, allowed: Callable[[], Tensor | None], scaling: float, step: Step
    ) -> Tensor | None:
        if step.moment not in PROMPT or step.num_queries == 1 or allowed() is not None:
            return None
        keys, tiling = held.keys(), Tiling(step.num_queries, held.length, self.query_block, self.key_block)
        reads = self.reads(queries, keys, tiling, scaling)
        if reads is None:
            return None
        output, pairs = attend(queries, keys, held.values(), reads, tiling, scaling)
        self.ctx.count("pairs_unread", len(reads) * tiling.causal_pairs - pairs)
        return output


def prefill_edit(where: frozenset[Place], make: Callable[[OpenContext], SparsePrefill]) -> Edit:
    """Padding would shift the blocks, and what is not computed has no score."""
    return Edit(
        slot=Slot.ATTEND,
        where=where,
        make=make,
        needs=frozenset({Need.QUERIES, Need.PLAIN_ATTENTION}),
        breaks=frozenset({Need.PADDING, Need.FULL_SCORES}),
    )
