"""CItruS: a long prompt is read chunk by chunk, and what the instruction does not ask for leaves the cache."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
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
    Slot,
    Step,
    knob,
)
from paretolm.errors import RecipeError

from ._attention import mean_attention
from ._cost import holding, query_bytes
from ._probing import check_probing
from ._ranking import top
from .snapkv import window_of, window_votes


def asked_for(queries: Tensor, keys: Tensor, scaling: float, size: int) -> Tensor:
    """Ascending indices [B, size] of the keys to which queries behind them attend most, on the mean of all heads."""
    return top(mean_attention(queries, keys, scaling), size)


def asked_at_the_end(queries: Tensor, keys: Tensor, scaling: float, size: int) -> Tensor:
    """Ascending indices [B, size] where the queries [B, Hq, w, D] are those of the last w keys, which stay."""
    w, n = queries.shape[2], keys.shape[2]
    chosen = top(window_votes(queries, keys, scaling).mean(1), size - w)
    last = torch.arange(n - w, n, device=keys.device).expand(len(chosen), -1)
    return torch.cat([chosen, last], dim=-1)


@dataclass
class CitrusKeep:
    ctx: OpenContext
    method: Citrus
    observe: Observe = field(init=False)

    def __post_init__(self) -> None:
        w = self.method.instruction
        self.observe = Observe(queries=w, decoding=True, probe=True)

    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        return None

    def probe(self, prompt: Tensor | None, step: Step) -> Tensor | None:
        """The instruction, after each part of the prompt but the last."""
        if prompt is None or step.moment is not Moment.PREFILL:
            return None
        return prompt[:, -self.method.instruction :]

    def settle(self, held: Held, observed: Observed, step: Step) -> Kept | None:
        budget = self.method.budget.tokens(held.seen)
        if held.length <= budget:
            return None
        size = self.method.left(budget)
        assert observed.queries is not None
        assert observed.query_positions is not None
        keys, scaling = held.keys(), observed.scaling
        if int(observed.query_positions[:, -1].max()) > int(held.positions[..., -1].max()):  # they came as a probe
            index = asked_for(observed.queries, keys, scaling, size)
            self.ctx.count("probed_chunks")
        else:
            window = window_of(size, observed.queries.shape[2])
            index = asked_at_the_end(observed.queries[:, :, -window:], keys, scaling, size)
        self.ctx.count("tokens_evicted", held.length - size)
        return Kept(index[:, None])


@dataclass(frozen=True, kw_only=True)
class Citrus(Method):
    """Reads a prompt in chunks; after each, the cached tokens to which the instruction attends least are evicted.

    CItruS: Chunked Instruction-aware State Eviction for Long Sequence Modeling (2406.12018), section 4, with one
    cache for reading and asking (shared cache, `instruction_aware_single` in the official code). The last
    `instruction` tokens of the prompt are read after each chunk as if they came next; their mean attention in a layer
    ranks what is held there, and they are taken back. Where the cache is over `budget`, `chunk_size` entries less
    than that stay, so that it has room for the next chunk. At the prompt's end the instruction stands where it was
    written, ranks once more, and stays.

    It reads in chunks where the prompt comes in chunks: in tasks of a stream. A prompt read in one forward (`generate`)
    is ranked once, at its end. A text without a prompt is evicted by the attention of its last tokens.

    Where we leave the paper: a chunk is evicted when it was read (the official code carries it whole to the next
    chunk's eviction); the instruction's own keys are not among those it spreads its attention over; the budget counts
    the chunk, which the paper's k does not; what is generated is evicted too; positions are the original ones, not
    those inside the cache. Of equal attention the later token stays.
    """

    papers: ClassVar[tuple[str, ...]] = ("2406.12018",)

    budget: Budget = knob(Budget(1024, "tok"), help="tokens held between chunks (k + chunk_size)")
    chunk_size: int = knob(256, low=1, help="tokens of a chunk, and how many less than the budget an eviction leaves")
    instruction: int = knob(32, low=1, help="last tokens of the prompt: what is asked")

    def validate(self) -> None:
        fixed = self.budget.fixed
        if fixed is not None and fixed - self.chunk_size <= self.instruction:
            raise RecipeError(
                f"citrus: chunk_size={self.chunk_size} and instruction={self.instruction} leave nothing of "
                f"budget={self.budget} to select; make the budget larger than both together"
            )

    def left(self, budget: int) -> int:
        """Entries that an eviction leaves."""
        return budget - min(self.chunk_size, budget // 2)

    def plan(self, view: ModelView) -> Iterable[Edit]:
        check_probing(self.name, view)
        yield Edit(
            slot=Slot.KEEP,
            where=view.full_layers,
            make=lambda ctx: CitrusKeep(ctx, self),
            needs=frozenset({Need.QUERIES}),
            # the last queries of a forward decide, so a rejected draft would have had its say
            breaks=frozenset({Need.CHUNK_INVARIANT, Need.PADDING, Need.ROLLBACK, Need.TREE}),
        )

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        budget = self.budget.tokens(tokens)
        least = tokens if tokens <= budget else self.left(budget)
        cost = before.with_layers(
            view.full_layers,
            lambda layer: replace(holding(layer, budget), entries=Interval(least, holding(layer, budget).entries.high)),
        )
        queries = Interval.exact(min(tokens, self.instruction) * query_bytes(view))
        return replace(cost, index_bytes=cost.index_bytes + queries)

    def chunk(self, tokens: int) -> int | None:
        """The method's own chunk."""
        return min(self.chunk_size, max(1, self.budget.tokens(tokens) // 2))
