"""Learning rates along given points, linear between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...errors import UserError
from ..contracts import Schedule


@dataclass(frozen=True, kw_only=True)
class PiecewiseLinear(Schedule):
    """at: steps, rising; scales: the factor at each of them. Before the first and after the last it stays."""

    name: ClassVar[str] = "piecewise-linear"

    at: tuple[int, ...] = ()
    scales: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.at or len(self.at) != len(self.scales) or list(self.at) != sorted(set(self.at)):
            raise UserError(
                f"piecewise-linear: at {self.at} are rising steps, each with one of the scales {self.scales}"
            )
        if min(self.scales) < 0:
            raise UserError(f"piecewise-linear: scales are 0 or more, not {min(self.scales)}")

    def scale(self, step: int, steps: int) -> float:
        return float(np.interp(step, self.at, self.scales))
