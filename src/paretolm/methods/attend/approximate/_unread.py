"""What stands where queries and keys are that nobody reads: nothing is computed and nothing is held."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy

from torch import Tensor, nn

from paretolm.contracts import Step, Store
from paretolm.contracts.step import current_step


class NoKeys(Store):
    """One side of one layer of which only the number of entries is held; it reads as zero."""

    def __init__(self) -> None:
        self._shape: Tensor | None = None  # [B, H, 0, D]
        self._length = 0

    @property
    def length(self) -> int:
        return self._length

    def append(self, x: Tensor) -> None:
        self._shape = x.new_empty(*x.shape[:2], 0, x.shape[3])
        self._length += x.shape[2]

    def read(self, index: Tensor | None = None) -> Tensor:
        assert self._shape is not None, "nothing was appended yet"
        batch, heads, _, width = self._shape.shape
        return self._shape.new_zeros(()).expand(batch, heads, self._length if index is None else index.shape[-1], width)

    def keep(self, index: Tensor) -> None:
        self._length = index.shape[-1]

    def select_rows(self, rows: Tensor) -> None:
        if self._shape is not None:
            self._shape = self._shape[rows]

    def tensors(self) -> Iterable[Tensor]:
        return () if self._shape is None else (self._shape,)

    def clone(self) -> NoKeys:
        return copy(self)

    def settle(self, step: Step) -> None:
        """Nothing is ever due."""


class Unread(nn.Module):
    """In place of a projection to queries or keys: zeros. Where no forward through the cache is under way, a method
    looks into attention as the layers' own would be, and the original answers; it holds no bytes of this module."""

    def __init__(self, original: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = original.in_features, original.out_features
        self._original = (original,)  # in a tuple it is no part of this module

    def forward(self, x: Tensor) -> Tensor:
        try:
            current_step()
        except LookupError:
            return self._original[0](x)
        return x.new_zeros(()).expand(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}"
