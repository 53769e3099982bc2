"""PyramidKV: SnapKV with larger budgets for lower layers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import ClassVar

from paretolm.contracts import Cost, Edit, ModelView, Need, Phase, Slot, knob

from ._cost import holding
from .snapkv import SnapKV, SnapKVKeep, window_of


def pyramid(capacity: int, window: int, length: int, num_layers: int, beta: float) -> list[int]:
    """Entries of a prompt of `length` that each layer keeps, window included, from the lowest layer to the highest.

    A straight line whose mean is `capacity`. The highest layer selects (capacity - window) / beta entries beside the
    window, unless the lowest would then keep more than there is; it keeps all then and the line is flatter.
    """
    window = window_of(capacity, window)
    if length <= capacity:
        return [length] * num_layers
    selected = capacity - window
    most = min(2 * selected - selected / beta, length - window)
    least = 2 * selected - most
    step = (most - least) / max(1, num_layers - 1)
    line = [most - layer * step if num_layers > 1 else selected for layer in range(num_layers)]
    sums = [round(sum(line[:layer])) for layer in range(num_layers + 1)]  # rounding keeps the total
    return [min(length, window + after - before) for before, after in pairwise(sums)]


@dataclass
class PyramidKeep(SnapKVKeep):
    method: PyramidKV
    rank: int
    num_layers: int

    def size(self, length: int) -> int:
        return self.method.sizes(length, self.num_layers)[self.rank]


@dataclass(frozen=True, kw_only=True)
class PyramidKV(SnapKV):
    """Keeps what SnapKV would, but more in lower layers and less in higher ones, at the same total.

    PyramidKV: Dynamic KV Cache Compression based on Pyramidal Information Funneling (2406.02069), section 4. Lower
    layers spread their attention, higher ones look at few tokens. Budgets fall along a straight line from layer to
    layer; all the rest, its knobs included, is SnapKV.

    Where we leave the paper: the line's steps are not rounded down, so that the layers' budgets add up to
    `budget` a layer exactly (the official code's integer steps hold a little more). Where the official code falls
    back to equal budgets for short prompts, the line flattens until the lowest layer keeps all. One selection for a
    key-value head, window and budgets in percent as in snapkv; the line counts full-attention layers only.
    """

    papers: ClassVar[tuple[str, ...]] = ("2406.02069",)
    baseline: ClassVar[bool] = True

    beta: float = knob(20.0, low=1, help="how much less than the mean the highest layer selects (beta)")

    def sizes(self, length: int, num_layers: int) -> list[int]:
        return pyramid(self.budget.tokens(length), self.window_size, length, num_layers, self.beta)

    def plan(self, view: ModelView) -> Iterable[Edit]:
        ranks = {layer: rank for rank, layer in enumerate(sorted(view.full_layers))}
        yield Edit(
            slot=Slot.KEEP,
            where=view.full_layers,
            make=lambda ctx: PyramidKeep(ctx, self, ranks[int(ctx.place)], len(ranks)),
            phase=Phase.AFTER,
            needs=frozenset({Need.QUERIES}),
        )

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        """Of a prompt of `tokens`."""
        sizes = self.sizes(tokens, len(view.full_layers))
        for layer, size in zip(sorted(view.full_layers), sizes, strict=True):
            before = before.with_layers(frozenset({layer}), partial(holding, entries=size, per_head=True))
        return before
