"""Acting once, at the end of the prompt; a padded batch is decided row by row, each as if it were alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from paretolm.contracts import Held, Kept, Moment, Observe, Observed, OpenContext, Step

from ._window import num_dropped


@dataclass(frozen=True)
class Text:
    """One prompt of n tokens without its padding, or a batch of equally long ones; tensors are read when asked for."""

    held: Held
    observed: Observed
    rows: slice = field(default_factory=lambda: slice(None))
    padding: int = 0

    @property
    def length(self) -> int:
        """n."""
        return self.held.length - self.padding

    @property
    def keys(self) -> Tensor:
        """[B, H, n, D]."""
        return self.held.keys()[self.rows, :, self.padding :]

    @property
    def values(self) -> Tensor:
        """[B, H, n, D]."""
        return self.held.values()[self.rows, :, self.padding :]

    @property
    def queries(self) -> Tensor:
        """[B, Hq, w, D], the last ones, as many as were asked for and the prompt has."""
        assert self.observed.queries is not None
        return self.observed.queries[self.rows, :, -self.length :]

    @property
    def scaling(self) -> float:
        return self.observed.scaling


@dataclass
class PromptKeep(ABC):
    """Keeps `size` of a prompt's entries, those that `choose` names; all that is generated stays."""

    ctx: OpenContext
    observe: Observe = field(default_factory=Observe, init=False)

    @abstractmethod
    def size(self, length: int) -> int:
        """Entries that may stay of a prompt of `length` tokens."""

    @abstractmethod
    def choose(self, text: Text, size: int) -> Tensor:
        """Ascending indices [B, H, size] of what stays of a text longer than `size`. Where heads keep different
        numbers, `size` on average, [B, H, m] with -1 in front of those of a head that keeps fewer than m."""

    def visible(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        return None

    def settle(self, held: Held, observed: Observed, step: Step) -> Kept | None:
        if step.moment is not Moment.PREFILL_END:
            return None
        lengths = (held.positions[:, 0] >= 0).sum(-1).tolist()
        padding = [0] * len(lengths) if step.padding is None else step.padding.tolist()
        budgets = [self.size(held.seen - row) for row in padding]
        sizes = [min(length, budget) for length, budget in zip(lengths, budgets, strict=True)]
        if max(sizes) == held.length:
            return None
        index = self._index(held, observed, lengths, sizes)
        self.ctx.count("tokens_evicted", num_dropped(held.positions, index))
        return Kept(index, ragged=bool((index < 0).any()))

    def _index(self, held: Held, observed: Observed, lengths: list[int], sizes: list[int]) -> Tensor:
        """[B, H, m]; a row that keeps fewer than others is filled with padding, which comes first, or with -1 where
        heads differ."""
        if len(lengths) == 1:
            return self._row(Text(held, observed), sizes[0])
        rows = []
        for row, (length, size) in enumerate(zip(lengths, sizes, strict=True)):
            padding = held.length - length
            own = self._row(Text(held, observed, slice(row, row + 1), padding), size)
            rows.append(torch.where(own < 0, own, own + padding))
        width, ragged = max(row.shape[-1] for row in rows), any(bool((row < 0).any()) for row in rows)
        return torch.cat([_filled(row, width, ragged) for row in rows])

    def _row(self, text: Text, size: int) -> Tensor:
        if size < text.length:
            return self.choose(text, size)
        keys = text.keys
        return torch.arange(size, device=keys.device).expand(*keys.shape[:2], -1)


def _filled(index: Tensor, width: int, ragged: bool) -> Tensor:
    """index [1, H, m] behind as many columns of padding, or -1, as make `width`."""
    fill = torch.arange(width - index.shape[-1], device=index.device)
    return torch.cat([(fill * 0 - 1 if ragged else fill).expand(*index.shape[:2], -1), index], dim=-1)
