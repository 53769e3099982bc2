"""Keys of small norm: the entries that attention reads most."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from paretolm.contracts import (
    Budget,
    Cost,
    Edit,
    Held,
    Kept,
    Method,
    ModelView,
    Moment,
    Need,
    Observe,
    Observed,
    OpenContext,
    Phase,
    Slot,
    Step,
    knob,
)

from ._cost import holding
from ._ranking import top


def smallest_norms(keys: Tensor, k: int) -> Tensor:
    """[B, H, k] ascending indices of the k keys of smallest L2 norm; keys [B, H, n, D]."""
    return top(-keys.float().norm(dim=-1), k)


@dataclass
class KeyNormKeep:
    """Acts once, at the end of the prompt."""

    ctx: OpenContext
    budget: Budget
    observe: Observe = field(default_factory=Observe)

    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        return None

    def settle(self, held: Held, observed: Observed, step: Step) -> Kept | None:
        size = self.budget.tokens(held.length)
        if step.moment is not Moment.PREFILL_END or size >= held.length:
            return None
        self.ctx.count("tokens_evicted", held.length - size)
        return Kept(smallest_norms(held.keys(), size))


@dataclass(frozen=True, kw_only=True)
class KeyNorm(Method):
    """Keeps the entries of the prompt whose keys have the smallest norm; all that is generated stays.

    A Simple and Effective L2 Norm-Based Strategy for KV Cache Compression (2406.11430).

    Where we leave the paper: every layer evicts, while the official code leaves the first two whole by default.
    """

    papers: ClassVar[tuple[str, ...]] = ("2406.11430",)

    budget: Budget = knob(Budget(50, "%"), help="entries of the prompt that stay")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(
            slot=Slot.KEEP,
            where=view.full_layers,
            make=lambda ctx: KeyNormKeep(ctx, self.budget),
            phase=Phase.AFTER,  # the prompt is read densely
            breaks=frozenset({Need.PADDING}),  # the norm of a padding key says nothing
        )

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        size = self.budget.tokens(tokens)
        return before.with_layers(view.full_layers, lambda layer: holding(layer, size, per_head=True))
