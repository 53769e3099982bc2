"""Giraffe: position frequencies divided, bent or cut off for longer contexts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from paretolm.contracts import Edit, FrequencyPart, Method, ModelView, OpenContext, Slot, knob
from paretolm.errors import ConflictError, RecipeError


def linear_basis(inv_freq: Tensor, scale: float) -> Tensor:
    """Positions divided by `scale`. [D/2] -> [D/2]."""
    return inv_freq / scale


def power_basis(inv_freq: Tensor, k: float) -> Tensor:
    """Frequency i times (1 - 2i/d)^k: slow frequencies are slowed most. [D/2] -> [D/2]."""
    half = inv_freq.numel()
    i = torch.arange(half, device=inv_freq.device, dtype=inv_freq.dtype)
    return inv_freq * (1 - i / half) ** k


def truncated_basis(inv_freq: Tensor, a: float, b: float, rho: float) -> Tensor:
    """Frequencies from b on as they are, those between a and b all rho, those up to a zero. [D/2] -> [D/2]."""
    slow = torch.where(inv_freq > a, torch.full_like(inv_freq, rho), torch.zeros_like(inv_freq))
    return torch.where(inv_freq >= b, inv_freq, slow)


@dataclass(frozen=True, kw_only=True)
class Giraffe(Method):
    """Other rotary frequencies for texts longer than the trained length: divided, bent or cut off.

    Giraffe: Adventures in Expanding Context Lengths in LLMs (2308.10882), its linear, power and truncated bases.
    linear: positions are divided by `scale`, so that no distance is new to the model. power: slow frequencies are
    slowed more than fast ones. truncated: the model keeps only frequencies that turned at least once in training,
    b = 2 pi / trained length; slower ones become one constant rho, the slowest stand still.

    What to expect: the paper tunes the model after the change, and there linear scaling holds up best on retrieval
    and questions, with a larger scale at evaluation than in tuning reaching further still. Without tuning every
    basis disturbs what was learnt: quality within the trained length falls, and about twice that length is
    reached, with low accuracy. A text that reads well by perplexity may still fail at retrieval.

    a, b and rho follow the released code where they are not given: b / 8, 2 pi / trained length and b / 16.
    As in that code `scale` acts before the other bases too; it is 4 in the linear basis and 1 in the others.
    A frequency of exactly a is zero, as in the paper's formula.
    """

    papers: ClassVar[tuple[str, ...]] = ("2308.10882",)

    basis: str = knob("linear", choices=("linear", "power", "truncated"), help="what happens to the frequencies")
    scale: float | None = knob(None, low=1, help="positions are divided by it; none: 4 in the linear basis, else 1")
    k: float = knob(0.5, low=0, help="exponent of the power basis; 0 changes nothing")
    a: float | None = knob(None, low=0, help="truncated: frequencies up to it are zero; none: b / 8")
    b: float | None = knob(None, low=0, help="truncated: frequencies from it on stay; none: 2 pi / trained length")
    rho: float | None = knob(None, low=0, help="truncated: the frequency between a and b; none: b / 16")

    def validate(self) -> None:
        if self.basis != "truncated" and (self.a, self.b, self.rho) != (None, None, None):
            raise RecipeError(f"giraffe: a, b and rho belong to basis=truncated, not to basis={self.basis}")
        if self.a is not None and self.b is not None and self.a > self.b:
            raise RecipeError(f"giraffe: the cutoff a={self.a} must not lie above b={self.b}")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        if view.rope is None:
            raise ConflictError(
                f"giraffe changes rotary frequencies, and {view.architecture} has none (learned positions have no frequencies)"
            )
        yield Edit(Slot.FREQUENCY, frozenset({view.rope.path}), lambda ctx: GiraffeBasis(self, ctx))

    def inv_freq(self, base: Tensor, trained_length: int) -> Tensor:
        """Radians per position in this basis. [D/2] -> [D/2]."""
        scale = self.scale or (4.0 if self.basis == "linear" else 1.0)
        scaled = linear_basis(base, scale)
        if self.basis == "power":
            return power_basis(scaled, self.k)
        if self.basis == "truncated":
            return truncated_basis(scaled, *self.cutoffs(trained_length))
        return scaled

    def cutoffs(self, trained_length: int) -> tuple[float, float, float]:
        """(a, b, rho)."""
        b = 2 * math.pi / trained_length if self.b is None else self.b
        return b / 8 if self.a is None else self.a, b, b / 16 if self.rho is None else self.rho


@dataclass(frozen=True)
class GiraffeBasis(FrequencyPart):
    """The FREQUENCY part."""

    method: Giraffe
    ctx: OpenContext

    def inv_freq(self, base: Tensor) -> Tensor:
        new = self.method.inv_freq(base, self.ctx.view.trained_length)
        self.ctx.count("frequencies_changed", int((new != base).sum()))
        return new

    def attention_factor(self, base: float) -> float:
        """Unchanged: the paper scales no scores."""
        return base
