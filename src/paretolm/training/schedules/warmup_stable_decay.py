"""A linear rise, a plateau, and a linear fall to zero. Source: Hu et al. 2024, arXiv 2404.06395, section 4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...contracts.knobs import knob
from ..contracts import Schedule


@dataclass(frozen=True, kw_only=True)
class WarmupStableDecay(Schedule):
    """Shares of all steps; decay is linear, where the paper tries exponential."""

    name: ClassVar[str] = "warmup-stable-decay"

    warmup: float = knob(0.02, low=0, high=1)
    decay: float = knob(0.3, low=0, high=1)

    def scale(self, step: int, steps: int) -> float:
        rise = (step + 1) / max(1.0, self.warmup * steps)
        fall = (steps - step) / max(1.0, self.decay * steps)
        return min(1.0, rise, fall)
