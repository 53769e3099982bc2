"""YaRN: slow frequencies are divided, fast ones kept, and attention is made sharper."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from paretolm.contracts import Edit, FrequencyPart, Method, ModelView, OpenContext, Slot, knob
from paretolm.errors import ConflictError, RecipeError

from ._ntk import correction, ramp


def by_parts(inv_freq: Tensor, factor: float, low: float, high: float) -> Tensor:
    """Frequencies up to number `low` as they are, from `high` on divided by `factor`, a blend between.

    [D/2] -> [D/2]."""
    divided = ramp(low, high, inv_freq.numel()).to(inv_freq)
    return inv_freq * (1 - divided) + inv_freq / factor * divided


@dataclass(frozen=True, kw_only=True)
class Yarn(Method):
    """Frequencies divided by `factor` where they are slow, and scores a little larger, for texts `factor` times as
    long.

    YaRN: Efficient Context Window Extension of Large Language Models (2309.00071), sections 3.2 and 3.4: a frequency
    that turns more than `beta_fast` times in the trained length is left alone, one that turns less than `beta_slow`
    times is divided. Queries and keys are multiplied by 0.1 ln(factor) + 1, so attention's temperature falls as the
    text grows. The paper tunes for some hundred steps afterwards; without that the model works, less well.

    Where a head turns only part of its channels, that part alone is multiplied, as in transformers.
    """

    papers: ClassVar[tuple[str, ...]] = ("2309.00071",)
    baseline: ClassVar[bool] = True

    factor: float = knob(4.0, low=1, help="s: how many times the trained length is to be read; 1 changes nothing")
    beta_fast: float = knob(32.0, low=0, help="beta: a frequency with more turns stays")
    beta_slow: float = knob(1.0, low=0, help="alpha: a frequency with fewer turns is divided")
    attention_factor: float | None = knob(None, low=0, help="sqrt(1/t): queries and keys times it; none: 0.1 ln(s) + 1")

    def validate(self) -> None:
        if self.beta_slow >= self.beta_fast:
            raise RecipeError(f"yarn: beta_slow={self.beta_slow} must be below beta_fast={self.beta_fast}")
        if self.beta_slow == 0:
            raise RecipeError("yarn: beta_slow must be above 0; every frequency turns more often than never")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        if view.rope is None:
            raise ConflictError(f"yarn changes rotary frequencies, and {view.architecture} has none")
        yield Edit(Slot.FREQUENCY, frozenset({view.rope.path}), lambda ctx: YarnFrequencies(self, ctx))

    def inv_freq(self, inv_freq: Tensor, base: float, length: int) -> Tensor:
        """Radians per position for a model of `length` trained tokens whose frequencies are base^(-2i/d)."""
        half = inv_freq.numel()
        low = math.floor(correction(self.beta_fast, 2 * half, base, length))
        high = math.ceil(correction(self.beta_slow, 2 * half, base, length))
        return by_parts(inv_freq, self.factor, max(low, 0), min(high, 2 * half - 1))

    @property
    def sharper(self) -> float:
        """What queries and keys are multiplied with."""
        return 0.1 * math.log(self.factor) + 1 if self.attention_factor is None else self.attention_factor


@dataclass(frozen=True)
class YarnFrequencies(FrequencyPart):
    """The FREQUENCY part."""

    method: Yarn
    ctx: OpenContext

    def inv_freq(self, base: Tensor) -> Tensor:
        rope = self.ctx.view.rope
        assert rope is not None
        new = self.method.inv_freq(base, rope.base, self.ctx.view.trained_length)
        self.ctx.count("frequencies_changed", int((new != base).sum()))
        return new

    def attention_factor(self, base: float) -> float:
        return base * self.method.sharper
