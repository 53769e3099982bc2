"""A sliding window: the cache holds the last tokens and forgets the rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from paretolm.contracts import Cost, Edit, Method, ModelView, Need, Slot, knob

from ._cost import holding
from ._window import WindowKeep


@dataclass(frozen=True, kw_only=True)
class Window(Method):
    """Each token reads itself and the `window - 1` tokens before it, as in the sliding layers of Mistral.

    The baseline of most cache papers (window attention; Beltagy et al., 2004.05150, section 3.1). Positions are
    the original ones, so relative distances stay below `window`. Entries that no later token can read are
    evicted, so `window - 1` are held between forwards. A chunk of many tokens equals single steps.
    """

    papers: ClassVar[tuple[str, ...]] = ("2004.05150",)
    baseline: ClassVar[bool] = True
    entries: ClassVar[tuple[str, ...]] = ("window",)

    window: int = knob(1024, low=2, help="tokens a query reads, itself included (w)")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(
            slot=Slot.KEEP,
            where=view.full_layers,
            make=lambda ctx: WindowKeep(ctx, first=0, window=self.window),
            breaks=frozenset({Need.ROLLBACK}),
        )

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        return before.with_layers(view.full_layers, lambda layer: holding(layer, self.window - 1))
