"""KEEP for methods that count on every entry staying where it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from paretolm.contracts import Held, Kept, Observe, Observed, Step


@dataclass(frozen=True)
class HoldAll:
    """Claims KEEP and evicts nothing, so that no other method evicts what blocks and chunks are counted in."""

    observe: Observe = field(default_factory=Observe)

    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        return None

    def settle(self, held: Held, observed: Observed, step: Step) -> Kept | None:
        return None
