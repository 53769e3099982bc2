"""Wrong methods that the laws must catch; each breaks one law and, as far as it can, no other."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from paretolm.contracts import (
    WHOLE,
    Cost,
    Edit,
    Held,
    Interval,
    Kept,
    Method,
    ModelView,
    Need,
    Observe,
    Observed,
    OpenContext,
    Slot,
    Step,
    knob,
)
from paretolm.methods.keep.window import Window


@dataclass
class _Keep:
    ctx: OpenContext
    window: int
    observe: Observe = field(default_factory=Observe)

    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        return query_positions[:, None, :, None] - key_positions[:, :, None, :] < self.window

    def settle(self, held: Held, observed: Observed, step: Step) -> Kept | None:
        return None


class _HidesOneTooMany(_Keep):
    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        return query_positions[:, None, :, None] - key_positions[:, :, None, :] != 40


class _CountsNothing(_Keep):
    """Acts, and does not say so."""


class _CountsOnly(_Keep):
    """Says it acted, and did not."""

    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        self.ctx.count("tokens_evicted", 1)
        return None


class _MasksInPlaceOfEvicting(_Keep):
    """Entries are hidden and stay in memory."""


class _CountsColumns(_Keep):
    """Counts columns of the batch in place of a row's own tokens."""

    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        columns = torch.arange(key_positions.shape[-1])
        queries = columns[-query_positions.shape[-1] :]
        return ((queries[:, None] - columns < self.window) | (columns[None] < 4))[None, None]


@dataclass(frozen=True, kw_only=True)
class _Windowed(Method):
    papers: ClassVar[tuple[str, ...]] = ("0000.00000",)
    part: ClassVar[Any] = _Keep
    window: int = knob(16)

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(Slot.KEEP, view.full_layers, lambda ctx: self.part(ctx, self.window))


class LeakyNeutral(_Windowed):
    """Law 1: at its neutral setting one key of the past is missing."""

    part = _HidesOneTooMany


class Silent(_Windowed):
    """Law 2: acts and counts nothing."""

    part = _CountsNothing


class Idle(_Windowed):
    """Law 2: counts and does not act."""

    part = _CountsOnly


class ZeroMask(_Windowed):
    """Law 4: promises the bytes of a window, hides entries and holds them all."""

    part = _MasksInPlaceOfEvicting

    def cost(self, view: ModelView, tokens: int, before: Cost) -> Cost:
        layers = tuple(replace(layer, entries=Interval.exact(self.window)) for layer in before.layers)
        return replace(before, layers=layers)


class ColumnWindow(_Windowed):
    """Law 5: takes padding for the first tokens of a row."""

    part = _CountsColumns


class EveryLayer(_Windowed):
    """Law 6: claims sliding layers too."""

    def plan(self, view: ModelView) -> Iterable[Edit]:
        where = frozenset(layer.index for layer in view.layers)
        yield Edit(Slot.KEEP, where, lambda ctx: _Keep(ctx, self.window))


@dataclass(frozen=True, kw_only=True)
class InPlace(Method):
    """Law 3: rounds the weights where they stand, so that undo has nothing to put back."""

    papers: ClassVar[tuple[str, ...]] = ("0000.00000",)

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(Slot.WEIGHTS, frozenset({view.linears[0].path}), lambda ctx: self)

    def replace(self, path: str, module: nn.Module) -> nn.Module:
        with torch.no_grad():
            module.weight.mul_(0.5)  # type: ignore[operator,union-attr]
        return module


_DRIFT = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Drifting(Window):
    """Law 8: means something else each time it is read."""

    name: ClassVar[str] = "window"

    def __post_init__(self) -> None:
        object.__setattr__(self, "window", self.window + 1 + next(_DRIFT))
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class Unseeded(Method):
    """Law 9: its noise comes from the operating system."""

    papers: ClassVar[tuple[str, ...]] = ("0000.00000",)

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(Slot.LOGITS, WHOLE, lambda ctx: self._noisy)

    def _noisy(self, ids: Tensor, hidden: Tensor, logits: Tensor) -> Tensor:
        return logits + int.from_bytes(os.urandom(2), "little") / 1000


@dataclass(frozen=True, kw_only=True)
class Needy(Method):
    """Pairs: relies on what a window gives up."""

    papers: ClassVar[tuple[str, ...]] = ("0000.00000",)

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(Slot.LOGITS, WHOLE, lambda ctx: lambda i, h, x: x, needs=frozenset({Need.ROLLBACK}))
