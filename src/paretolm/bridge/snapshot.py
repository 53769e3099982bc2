"""A layer as one recipe read it and another goes on from it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LayerSnapshot:
    """A layer as it was before the end of the prompt was settled."""

    keys: Tensor
    values: Tensor
    positions: Tensor | None
    seen: int
    scaling: float
    queries: Tensor | None
    query_positions: Tensor | None
    received: Tensor | None
