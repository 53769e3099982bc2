"""StreamingLLM: attention sinks beside a sliding window."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from paretolm.contracts import Band, Cost, Edit, Method, ModelView, Need, Slot, knob

from ._cost import holding
from ._window import WindowKeep


def rank_bands(query_positions: Tensor, key_positions: Tensor, sinks: int, window: int) -> list[Band]:
    """Positions inside a cache of `sinks` first and `window` last tokens, without turning what is held.

    A query's rank there is min(p, sinks + window - 1) and a sink's rank is its own position; the window's keys
    move together with the query, so their distance stays the original one. Only the sinks' band differs from
    the original positions, and only once a query stands beyond the full cache.
    query_positions [B|1, Q], key_positions [B|1, H|1, n].
    """
    last = sinks + window - 1
    original = Band(key_positions=key_positions, query_positions=query_positions)
    if sinks == 0 or int(query_positions.max()) <= last:
        return [original]
    ranks = query_positions.clamp(max=last)
    is_sink = key_positions < sinks
    if key_positions.shape[:2] == (1, 1):
        num = int(is_sink.sum())
        return [
            Band(key_positions[..., :num], ranks, keys=slice(0, num)),
            Band(key_positions[..., num:], query_positions, keys=slice(num, None)),
        ]
    by_query = is_sink[:, :, None, :].expand(-1, -1, query_positions.shape[-1], -1)
    return [Band(key_positions, ranks, allowed=by_query), Band(key_positions, query_positions, allowed=~by_query)]


@dataclass(frozen=True)
class CacheRanks:
    """The INDEX part: positions inside the cache."""

    sinks: int
    window: int

    def bands(self, query_positions: Tensor, key_positions: Tensor) -> Sequence[Band]:
        return rank_bands(query_positions, key_positions, self.sinks, self.window)


@dataclass(frozen=True, kw_only=True)
class StreamingLLM(Method):
    """Keeps the first `sinks` tokens and the last `window`, and counts positions inside the cache.

    Efficient Streaming Language Models with Attention Sinks (2309.17453), section 3.2. First tokens collect
    attention that has nowhere else to go; with a few of them held, a model reads on without end. A token's
    position is its rank in the cache, so no distance exceeds sinks + window - 1: choose
    sinks + window <= the trained length.

    Where we leave the paper: `window` counts the token being read, as sliding layers do, so that the cache
    never has more than sinks + window positions; the official evaluation script does not count it (its
    recent_size is our window - 1, and it reads at position start_size + recent_size). sinks + window - 1
    entries are held between forwards. Keys are held at their original positions and never turned again.
    A chunk of many tokens equals single steps.
    """

    papers: ClassVar[tuple[str, ...]] = ("2309.17453",)
    entries: ClassVar[tuple[str, ...]] = ("window", "sinks")

    sinks: int = knob(4, low=0, help="first tokens that stay (start_size)")
    window: int = knob(1020, low=2, help="last tokens a query reads, itself included (recent_size + 1)")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(slot=Slot.INDEX, where=view.full_layers, make=lambda _: CacheRanks(self.sinks, self.window))
        yield Edit(
            slot=Slot.KEEP,
            where=view.full_layers,
            make=lambda ctx: WindowKeep(ctx, first=self.sinks, window=self.window),
            breaks=frozenset({Need.ROLLBACK}),
        )

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        return before.with_layers(view.full_layers, lambda layer: holding(layer, self.sinks + self.window - 1))
