"""A store whose heads hold different numbers of entries: what a head does not keep costs no bytes."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy

import torch
from torch import Tensor

from ..contracts import Step


class RaggedStore:  # no subclass of the protocol Store, whose isinstance is slow
    """One side of one layer, or its positions: [N, ...], batch row after row, head after head, no gaps between.

    It is read as [B, H, n, ...], n the most that any head holds; a head with fewer has `fill` in front of its own,
    so that columns end together and new entries join at the end. Columns are numbered as they are read; a column of
    fill, or -1, is no entry.
    """

    def __init__(self, x: Tensor, fill: float = 0) -> None:
        """x [B, H, n, ...]: all of it, for `keep` to thin out."""
        self._x, self._fill = x.flatten(0, 2), fill
        self._counts = [[x.shape[2]] * x.shape[1] for _ in range(x.shape[0])]

    @property
    def rows(self) -> int:
        """B."""
        return len(self._counts)

    @property
    def length(self) -> int:
        return max(max(row) for row in self._counts)

    def append(self, x: Tensor) -> None:
        """x [B|1, H|1, q, ...]; what is one for all heads is written to each."""
        heads = len(self._counts[0])
        new = x.expand(self.rows, heads, *x.shape[2:]).flatten(0, 1)
        self._x = torch.cat([part for pair in zip(self._segments(), new, strict=True) for part in pair])
        self._counts = [[count + x.shape[2] for count in row] for row in self._counts]

    def read(self, index: Tensor | None = None) -> Tensor:
        if index is None:
            index = torch.arange(self.length, device=self._x.device)[None, None]
        place, real = self._places(index)
        found = self._x[place.clamp(min=0)]
        return found.masked_fill(~real.view(*real.shape, *[1] * (found.dim() - real.dim())), self._fill)

    def keep(self, index: Tensor) -> None:
        place, real = self._places(index)
        self._x, self._counts = self._x[place[real]], real.sum(-1).tolist()

    def select_rows(self, rows: Tensor) -> None:
        by_row = self._x.split([sum(row) for row in self._counts])
        self._x = torch.cat([by_row[row] for row in rows.tolist()])
        self._counts = [self._counts[row] for row in rows.tolist()]

    def tensors(self) -> Iterable[Tensor]:
        return (self._x,)

    def clone(self) -> RaggedStore:
        return copy(self)

    def settle(self, step: Step) -> None:
        """Nothing is ever due."""

    def _segments(self) -> tuple[Tensor, ...]:
        """Each head's own entries, row after row."""
        return self._x.split([count for row in self._counts for count in row])

    def _places(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Where the columns `index` [B|1, H|1, m] stand in N, and whether they are entries; both [B, H, m]."""
        counts = torch.tensor(self._counts, device=index.device)
        starts = counts.flatten().cumsum(0).view_as(counts) - counts
        own = index - (self.length - counts)[..., None]
        real = (index >= 0) & (own >= 0)
        return torch.where(real, starts[..., None] + own, -1), real
