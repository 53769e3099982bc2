"""ALiBi beside rotary positions: what is far counts less, by a slope a head."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from paretolm.contracts import Edit, Held, Method, ModelView, Need, OpenContext, Slot, Step, knob

BIASES_AT_ONCE = 2**20  # of all heads, in memory together


def slopes(num_heads: int) -> Tensor:
    """[Hq] of ALiBi, section 3: 2^(-8/n), 2^(-16/n), ... for n heads; where n is no power of two, those of the next
    smaller one and every other one of the next larger."""
    power = 2 ** (num_heads.bit_length() - 1)
    found = torch.arange(1, power + 1) * (-8 / power)
    between = torch.arange(1, 2 * power, 2)[: num_heads - power] * (-4 / power)
    return torch.exp2(torch.cat([found, between]))


def bias(distance: Tensor, slope: Tensor, start: int) -> Tensor:
    """[B, Hq, Q, n] what is added to scores: distance [B|1, Hq|1, Q, n] in positions, slope [Hq]."""
    return -slope[:, None, None] * (distance - start).clamp(min=0)


@dataclass
class Sloped:
    """The ATTEND part."""

    method: Alibi
    ctx: OpenContext

    def compute(
        self, queries: Tensor, held: Held, allowed: Callable[[], Tensor | None], scaling: float, step: Step
    ) -> Tensor | None:
        if self.method.scale == 0 or held.length == 1:
            return None
        keys, values = held.keys(), held.values()
        heads, size, groups = queries.shape[1], queries.shape[2], queries.shape[1] // keys.shape[1]
        keys, values = (x.repeat_interleave(groups, dim=1) for x in (keys, values))
        places, hidden = held.positions[:, :, None, :], allowed()
        if places.shape[1] > 1:
            places = places.repeat_interleave(groups, dim=1)
        if hidden is not None and hidden.shape[1] > 1:
            hidden = hidden.repeat_interleave(groups, dim=1)
        slope = slopes(heads).to(queries.device) * self.method.scale
        rows, outputs = max(1, BIASES_AT_ONCE // (heads * held.length)), []
        for start in range(0, size, rows):
            some = slice(start, min(start + rows, size))
            upto = held.length - size + some.stop  # what comes after the last of these queries is read by none
            distance = step.positions[:, None, some, None] - places[..., :upto]
            visible = distance >= 0 if hidden is None else hidden[:, :, some, :upto]
            mask = bias(distance, slope, self.method.start).masked_fill(~visible, float("-inf")).to(queries.dtype)
            attended = functional.scaled_dot_product_attention(
                queries[:, :, some], keys[:, :, :upto], values[:, :, :upto], attn_mask=mask, scale=scaling
            )
            outputs.append(attended)
        self.ctx.count("queries_sloped", size)
        return torch.cat(outputs, dim=2)


@dataclass(frozen=True, kw_only=True)
class Alibi(Method):
    """Adds ALiBi to the positions a model has: a score falls with the distance, in each head by another slope.

    The Nature of Mathematical Modeling and Probabilistic Optimization Engineering in Generative AI (2410.18441), the
    section on rotary positions with ALiBi; the slopes are those of Train Short, Test Long (2108.12409), section 3. With
    a model that was trained on rotary positions alone it trades what lies inside the trained length for what lies
    beyond: `start` leaves distances up to it as they are. Entries are held and read as before; nothing is saved.

    Where we leave the paper: it proposes to train with both, here the bias is put on a trained model. Acts on layers
    with full attention.
    """

    papers: ClassVar[tuple[str, ...]] = ("2410.18441", "2108.12409")

    scale: float = knob(1.0, low=0, help="of all slopes; 0 is the model's own attention")
    start: int = knob(0, low=0, help="distances up to it, in tokens, cost nothing")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(
            slot=Slot.ATTEND,
            where=view.full_layers,
            make=lambda ctx: Sloped(self, ctx),
            needs=frozenset({Need.QUERIES, Need.PLAIN_ATTENTION}),
            breaks=frozenset({Need.FULL_SCORES}),
        )
