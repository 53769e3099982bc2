"""What a method may change in a forward that it learns from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

Attention = Callable[[int, Tensor, Tensor, Tensor, float], Tensor | None]


@dataclass(frozen=True)
class Altered:
    """What differs from the untouched model.

    weights: matrices [out, in] by path, as `ModelView.linears` names them. positions: [1, T] of rotary embeddings,
    fractions too. attention(layer, queries [1, Hq, T, D], keys [1, H, T, D], values [1, H, T, Dv], scaling) gives
    [1, Hq, T, Dv] in place of softmax attention in full layers, which are asked in order, or None for the model's own;
    queries and keys are turned, and where attention is more than a softmax it is not asked.
    """

    weights: Mapping[str, Tensor] = field(default_factory=dict)
    positions: Tensor | None = None
    attention: Attention | None = None
