"""The store at the end of every chain: exact tensors."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy

import torch
from torch import Tensor

from ..contracts import Step, Store


class PlainStore(Store):
    """One side of one layer as the model computed it, [B, H, n, D].

    The tensor is replaced and never written in place, so clones share it; its storage is exactly its size, so
    what `keep` drops is freed at once.
    """

    def __init__(self) -> None:
        self._x: Tensor | None = None

    @property
    def length(self) -> int:
        return 0 if self._x is None else self._x.shape[2]

    def append(self, x: Tensor) -> None:
        self._x = _tight(x) if self._x is None else torch.cat((self._x, x), dim=2)

    def read(self, index: Tensor | None = None) -> Tensor:
        assert self._x is not None, "nothing was appended yet"
        return self._x if index is None else _gather(self._x, index)

    def keep(self, index: Tensor) -> None:
        self._x = self.read(index)

    def select_rows(self, rows: Tensor) -> None:
        if self._x is not None:
            self._x = self._x.index_select(0, rows)

    def tensors(self) -> Iterable[Tensor]:
        return () if self._x is None else (self._x,)

    def clone(self) -> PlainStore:
        return copy(self)

    def settle(self, step: Step) -> None:
        """Nothing is ever due."""


def _tight(x: Tensor) -> Tensor:
    """x itself, or a copy where its storage holds more than x or in another order."""
    exact = x.is_contiguous() and x.untyped_storage().nbytes() == x.nbytes
    return x if exact else x.clone(memory_format=torch.contiguous_format)


def _gather(x: Tensor, index: Tensor) -> Tensor:
    batch, heads, _, dim = x.shape
    return x.gather(2, index.unsqueeze(-1).expand(batch, heads, -1, dim))
