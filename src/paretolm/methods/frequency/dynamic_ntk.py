"""Dynamic NTK: the base of the frequencies grows with the text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from paretolm.contracts import (
    AttendCompute,
    Edit,
    FrequencyPart,
    Held,
    Method,
    ModelView,
    Need,
    OpenContext,
    Slot,
    Step,
    knob,
)
from paretolm.errors import ConflictError

from ._ntk import stretched


def turn(x: Tensor, angle: Tensor, halves: bool) -> Tensor:
    """x [B, H, n, D] turned by `angle` [..., n, d/2] radians in its first d channels, which are two halves or pairs."""
    cos, sin, width = angle.cos(), angle.sin(), 2 * angle.shape[-1]
    own = x[..., :width].float()
    a, b = own.chunk(2, dim=-1) if halves else (own[..., 0::2], own[..., 1::2])
    new = (a * cos - b * sin, b * cos + a * sin)
    turned = torch.cat(new, dim=-1) if halves else torch.stack(new, dim=-1).flatten(-2)
    return torch.cat([turned.to(x.dtype), x[..., width:]], dim=-1)


@dataclass(frozen=True, kw_only=True)
class DynamicNTK(Method):
    """Frequencies of a longer text the longer the text is: the fastest stay, the slowest are divided by its length
    over the trained one.

    Proposed without a paper; described as dynamic NTK in YaRN (2309.00071), section 3.3. Within the trained length
    nothing changes. At a length of l the factor is s * l / L - (s - 1), with s = `factor` and L the trained length.
    A length is rounded up to a multiple of `every`, so that a token's keys need not be turned anew at every step and
    a forward of many tokens equals single steps.

    Every key is read with the frequencies of the query's length, as if it had just been turned: what stands in the
    cache under older frequencies is turned by the difference. Implementations that leave it as it was (transformers)
    mix frequencies. Padded batches are refused, for their rows differ in length. Acts on layers with full attention.
    """

    papers: ClassVar[tuple[str, ...]] = ("2309.00071",)
    baseline: ClassVar[bool] = True

    factor: float = knob(1.0, low=1, help="s: 1 follows the length, more runs ahead of it")
    length: int | None = knob(None, low=1, help="L: texts up to it are read unchanged; none: the trained length")
    every: int = knob(256, low=1, help="lengths are rounded up to a multiple of it")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        if view.rope is None:
            raise ConflictError(f"dynamic-ntk changes rotary frequencies, and {view.architecture} has none")
        length, base, halves = self.length or view.trained_length, Frequencies(), view.rope.halves
        yield Edit(Slot.FREQUENCY, frozenset({view.rope.path}), lambda _: base)
        yield Edit(
            Slot.ATTEND,
            view.full_layers,
            lambda ctx: GrowingBase(self, length, base, halves, ctx),
            needs=frozenset({Need.PLAIN_ATTENTION}),
            breaks=frozenset({Need.PADDING, Need.FULL_SCORES}),
        )

    def stretch(self, positions: Tensor, length: int) -> Tensor:
        """By how much the slowest frequency is divided for queries at `positions`. [Q] -> [Q]."""
        rounded = (positions // self.every + 1) * self.every
        longer = self.factor * rounded / length - (self.factor - 1)
        return torch.where(positions < length, torch.ones_like(longer), longer)


@dataclass
class Frequencies(FrequencyPart):
    """The FREQUENCY part: it hands the model's own on, and remembers them."""

    own: Tensor = field(default_factory=lambda: torch.empty(0))

    def inv_freq(self, base: Tensor) -> Tensor:
        self.own = base
        return base

    def attention_factor(self, base: float) -> float:
        return base


@dataclass(frozen=True)
class GrowingBase(AttendCompute):
    """The ATTEND part."""

    method: DynamicNTK
    length: int
    frequencies: Frequencies
    halves: bool
    ctx: OpenContext

    def compute(
        self, queries: Tensor, held: Held, allowed: Callable[[], Tensor | None], scaling: float, step: Step
    ) -> Tensor | None:
        at, outputs, start = step.positions[0], [], 0
        if int(at[-1]) < self.length:
            return None
        visible = allowed()
        if visible is None:
            visible = held.positions[:, :, None, :] <= step.positions[:, None, :, None]
        stretches, sizes = self.method.stretch(at, self.length).unique_consecutive(return_counts=True)
        for stretch, size in zip(stretches.tolist(), sizes.tolist(), strict=True):
            rows = slice(start, start + size)
            outputs.append(self._attend(queries[:, :, rows], held, visible[:, :, rows], scaling, at[rows], stretch))
            start += size
        self.ctx.count("queries_stretched", int((at >= self.length).sum()))
        return torch.cat(outputs, dim=2)

    def _attend(
        self, queries: Tensor, held: Held, allowed: Tensor, scaling: float, at: Tensor, stretch: float
    ) -> Tensor:
        """Attention of queries at positions `at` [q] with all frequencies of one stretch."""
        own = self.frequencies.own.float()
        change = stretched(own, stretch) - own
        keys, values, places = held.keys(), held.values(), held.positions[..., None].float()
        groups = queries.shape[1] // keys.shape[1]
        return nn.functional.scaled_dot_product_attention(
            turn(queries, at[:, None].float() * change, self.halves),
            turn(keys, places * change, self.halves).repeat_interleave(groups, dim=1),
            values.repeat_interleave(groups, dim=1),
            attn_mask=allowed if allowed.shape[1] == 1 else allowed.repeat_interleave(groups, dim=1),
            scale=scaling,
        )
