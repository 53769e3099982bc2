"""TOVA: what the newest token attends to least leaves the cache."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor

from paretolm.contracts import (
    Budget,
    Cost,
    Edit,
    Held,
    Interval,
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

from ._attention import mean_attention
from ._cost import holding, query_bytes
from ._ranking import top


@dataclass
class TOVAKeep:
    """Acts at the end of the prompt and after every forward that leaves more than the budget."""

    ctx: OpenContext
    budget: Budget
    observe: Observe = field(default_factory=lambda: Observe(queries=1, decoding=True))

    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        return None

    def settle(self, held: Held, observed: Observed, step: Step) -> Kept | None:
        capacity = self.budget.tokens(held.seen)
        if step.moment is Moment.PREFILL or held.length <= capacity:
            return None
        assert observed.queries is not None
        scores = mean_attention(observed.queries[:, :, -1:], held.keys(), observed.scaling)
        self.ctx.count("tokens_evicted", held.length - capacity)
        return Kept(top(scores[:, None], capacity))


@dataclass(frozen=True, kw_only=True)
class TOVA(Method):
    """Drops, whenever the cache is over its budget, the tokens to which the newest one attends least.

    Transformers are Multi-State RNNs (2401.06104), section 3.3 (token omission via attention). All heads of a
    layer keep the same tokens, by the mean of their attention, and no token is kept for being new or first. Acts at
    the end of the prompt and after every step.

    Where we leave the paper: a budget in percent grows with the text (the paper's multi-state size is a number);
    positions are the original ones (the official code's cache renumbers nothing either). Of equal attention the
    later token stays.
    """

    papers: ClassVar[tuple[str, ...]] = ("2401.06104",)
    baseline: ClassVar[bool] = True

    budget: Budget = knob(Budget(25, "%"), help="tokens held (multi-state size k)")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(
            slot=Slot.KEEP,
            where=view.full_layers,
            make=lambda ctx: TOVAKeep(ctx, self.budget),
            phase=Phase.AFTER,
            needs=frozenset({Need.QUERIES}),
            # the last query of a forward decides, so a rejected draft would have had its say
            breaks=frozenset({Need.CHUNK_INVARIANT, Need.PADDING, Need.ROLLBACK, Need.TREE}),
        )

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        capacity = self.budget.tokens(tokens)
        cost = before.with_layers(view.full_layers, lambda layer: holding(layer, capacity))
        return replace(cost, index_bytes=cost.index_bytes + Interval.exact(query_bytes(view)))

    def chunk(self, tokens: int) -> int | None:
        return max(1, self.budget.tokens(tokens) // 8)
