"""A linear rise and half a cosine. Source: Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from ...contracts.knobs import knob
from ..contracts import Schedule


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """warmup is a share of all steps, floor the factor at the end."""

    name: ClassVar[str] = "cosine"

    warmup: float = knob(0.02, low=0, high=1)
    floor: float = knob(0.1, low=0, high=1)

    def scale(self, step: int, steps: int) -> float:
        rising = max(1.0, self.warmup * steps)
        if step + 1 < rising:
            return (step + 1) / rising
        way = (step - rising) / max(1.0, steps - rising)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, way))))
