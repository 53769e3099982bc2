"""Self-Extend: near keys at their distances, far ones in groups that share one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from paretolm.contracts import Band, Edit, Method, ModelView, OpenContext, Slot, knob

from ._bands import beyond, cut, distances


def grouped_bands(query_positions: Tensor, key_positions: Tensor, group: int, window: int) -> list[Band]:
    """Keys less than `window` back as they stand; farther ones at floor(position / group), the queries there moved
    up so that both parts meet.

    query_positions [B|1, Q], key_positions [B|1, H|1, n]."""
    near = distances(query_positions, key_positions) < window
    floored = query_positions // group + window - window // group
    return cut([(query_positions, key_positions, near), (floored, key_positions // group, ~near)])


@dataclass(frozen=True)
class Grouped:
    """The INDEX part."""

    group: int
    window: int
    ctx: OpenContext

    def bands(self, query_positions: Tensor, key_positions: Tensor) -> Sequence[Band]:
        if self.group > 1:
            self.ctx.count("queries_regrouped", beyond(query_positions, key_positions, self.window))
        return grouped_bands(query_positions, key_positions, self.group, self.window)


@dataclass(frozen=True, kw_only=True)
class SelfExtend(Method):
    """Sees keys less than `window` back where they are, farther ones at positions divided by `group_size`.

    LLM Maybe LongLM: Self-Extend LLM Context Window Without Tuning (2401.01325), section 3. A model trained on L
    tokens reaches (L - window) * group_size + window of them without a distance that is new to it; what is farther
    is read at the distance that comes out. Nothing is evicted. A chunk of many tokens equals single steps. Acts on
    layers with full attention.

    Where we leave the paper: no default is given there for all models; here the window is a quarter of the trained
    length, as in its runs of Llama 2.
    """

    papers: ClassVar[tuple[str, ...]] = ("2401.01325",)
    baseline: ClassVar[bool] = True

    group_size: int = knob(4, low=1, help="G: far positions that become one; 1 changes nothing")
    window: int | None = knob(None, low=1, help="w_n: distances below it stay; none: a quarter of the trained length")

    def plan(self, view: ModelView) -> Iterable[Edit]:
        window = max(1, view.trained_length // 4) if self.window is None else self.window
        yield Edit(Slot.INDEX, view.full_layers, lambda ctx: Grouped(self.group_size, window, ctx))
