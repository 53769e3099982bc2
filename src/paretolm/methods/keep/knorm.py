"""Keys of small norm: without looking at attention, the entries that attention reads most."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from paretolm.contracts import Budget, Cost, Edit, Method, ModelView, Phase, Slot, knob

from ._cost import holding
from ._prompt import PromptKeep, Text
from ._ranking import top


def smallest_norms(keys: Tensor, k: int) -> Tensor:
    """Ascending indices [B, H, k] of the k keys of smallest L2 norm; keys [B, H, n, D]. Of equal norms the later."""
    return top(-keys.float().norm(dim=-1), k)


@dataclass
class KnormKeep(PromptKeep):
    budget: Budget

    def size(self, length: int) -> int:
        return self.budget.tokens(length)

    def choose(self, text: Text, size: int) -> Tensor:
        return smallest_norms(text.keys, size)


@dataclass(frozen=True, kw_only=True)
class Knorm(Method):
    """Keeps the entries of the prompt whose keys have the smallest L2 norm; all that is generated stays.

    A Simple and Effective L2 Norm-Based Strategy for KV Cache Compression (2406.11430), section 3: in most heads a
    small norm of a key goes with much attention. Each head chooses for itself, and no query is looked at, so it
    goes with every attention kernel. The first `skip_layers` full-attention layers stay whole, for there the norm
    says little (the official code's skip_layers 0 and 1).

    Where we leave the paper: it acts once, at the end of the prompt, on prompts of any length; the official code
    can also evict again whenever a number of tokens has come.
    """

    papers: ClassVar[tuple[str, ...]] = ("2406.11430",)
    baseline: ClassVar[bool] = True

    budget: Budget = knob(Budget(50, "%"), help="entries of the prompt that stay, in each layer that evicts")
    skip_layers: int = knob(2, low=0, help="first layers that stay whole")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(
            slot=Slot.KEEP,
            where=self._where(view),
            make=lambda ctx: KnormKeep(ctx, self.budget),
            phase=Phase.AFTER,
        )

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """Of a prompt of `tokens`."""
        size = self.budget.tokens(tokens)
        return before.with_layers(self._where(view), lambda layer: holding(layer, size, per_head=True))

    def _where(self, view: ModelView) -> frozenset[int]:
        return frozenset(sorted(view.full_layers)[self.skip_layers :])
