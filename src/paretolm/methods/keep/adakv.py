"""AdaKV: heads share one budget, and those that look at many tokens take more of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import Edit, ModelView, Need, OpenContext, Phase, Side, Slot, Store, knob

from ._prompt import Text
from ._ranking import top
from .snapkv import SnapKV, SnapKVKeep, smooth, window_of, window_votes


def share_out(votes: Tensor, num: int, safe: int) -> Tensor:
    """[B, H, n] True for the H * num best votes of all heads together, and for the `safe` best of each head first.

    votes [B, H, n], n >= num >= safe. Of equal votes the later key, and the later head, stays.
    """
    first = torch.zeros_like(votes, dtype=torch.bool).scatter_(-1, top(votes, safe), True)
    together = votes.masked_fill(first, torch.inf).flatten(1)
    chosen = top(together, votes.shape[1] * num)
    return torch.zeros_like(together, dtype=torch.bool).scatter_(-1, chosen, True).view_as(votes)


def ragged_index(wanted: Tensor) -> Tensor:
    """[B, H, m] ascending indices of what `wanted` [B, H, n] names, -1 in front where a head wants fewer than m."""
    index = top(wanted.int(), int(wanted.sum(-1).max()))
    return torch.where(wanted.gather(-1, index), index, -1).sort(dim=-1).values


@dataclass
class AdaKeep(SnapKVKeep):
    method: AdaKV

    def choose(self, text: Text, size: int) -> Tensor:
        window = window_of(self.method.budget.tokens(text.length), self.method.window_size)
        votes = window_votes(text.queries[:, :, -window:], text.keys, text.scaling)
        votes = smooth(votes, self.method.kernel_size, self.method.pooling)
        wanted = share_out(votes, size - window, int(self.method.alpha * (size - window)))
        return ragged_index(torch.nn.functional.pad(wanted, (0, window), value=True))

    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        real = key_positions >= 0
        if bool(real.all()):
            return None
        return real[:, :, None].expand(-1, -1, query_positions.shape[-1], -1)


class Plain:
    """Takes the layer's store, so that no other method does: heads of different lengths are plain tensors."""

    def store(self, side: Side, inner: Callable[[], Store]) -> Store:
        return inner()


@dataclass(frozen=True, kw_only=True)
class AdaKV(SnapKV):
    """Keeps what SnapKV would, but a layer's heads share one budget, and an entry one head drops frees its bytes.

    Ada-KV: Optimizing KV Cache Eviction by Adaptive Budget Allocation for Efficient LLM Inference (2407.11550),
    algorithm 1, on SnapKV. The votes of all heads of a layer are ranked together, so a head whose attention is spread
    keeps more than one that looks at few tokens; each keeps `alpha` of an even share first (the safeguard). The last
    window stays in all. What is generated stays.

    Heads of different lengths lie behind each other in memory without gaps. They are read with padding up to the
    longest, which costs time and no held bytes; so this saves memory, and speed only beside a longer cache.

    Where we leave the paper: an even share of the safeguard is counted without the window; one selection for a
    key-value head, window and budgets in percent as in snapkv. Not with methods that encode the cache.
    """

    papers: ClassVar[tuple[str, ...]] = ("2407.11550",)
    baseline: ClassVar[bool] = True

    alpha: float = knob(0.2, low=0, high=1, help="share of an even budget that each head keeps in any case")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        def make(ctx: OpenContext) -> AdaKeep:
            return AdaKeep(ctx, self)

        keep = Edit(Slot.KEEP, view.full_layers, make, phase=Phase.AFTER, needs=frozenset({Need.QUERIES}))
        yield keep
        yield replace(keep, slot=Slot.STORE, make=lambda _: Plain(), needs=frozenset())
