"""A store of old entries in another form and the newest as they are; eviction may reach both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy

import torch
from torch import Tensor

from paretolm.contracts import Moment, Step, Store

from ._codes import Codes


class CodedStore(Store):
    """Old entries as codes, the newest in the next store of the chain: `residual` of them, and what makes no whole
    group. once: codes are made when the first prompt ends, and never again.

    Codes cover columns [0, high), the exact part columns [low, length). Eviction may leave the heads with different
    numbers of coded entries; then low < high, and `split` [B|1, H|1, 1] says for each head where its codes end.
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Codes],
        group_size: int,
        residual: int,
        inner: Store,
        count: Callable[[int], None],
        once: bool = False,
    ) -> None:
        self._encode, self._group_size, self._residual, self._count = encode, group_size, residual, count
        self._once = once
        self._inner = inner
        self._codes: Codes | None = None
        self._low = self._high = 0
        self._split: Tensor | None = None
        self._like = torch.empty(0)

    @property
    def length(self) -> int:
        return self._low + self._inner.length

    def append(self, x: Tensor) -> None:
        self._like = x.new_empty(0)
        self._inner.append(x)

    def read(self, index: Tensor | None = None) -> Tensor:
        if self._codes is None:
            return self._inner.read(index)
        if index is None and self._split is None:
            return torch.cat((self._codes.decode(self._like.dtype), self._inner.read()), dim=2)
        index = self._columns(0, self.length) if index is None else index
        ends = self._ends()
        coded = index < ends
        if coded.all():
            return self._codes.decode(self._like.dtype, index)
        exact = self._inner.read((index - self._low).clamp(min=0))
        if not coded.any():
            return exact
        old = self._codes.decode(self._like.dtype, index.minimum(ends - 1).clamp(min=0))
        return torch.where(coded.unsqueeze(-1), old, exact)

    def keep(self, index: Tensor) -> None:
        if self._codes is None:
            self._inner.keep(index)
            return
        ends, low = self._ends(), self._low
        kept = (index < ends).sum(-1, keepdim=True)
        self._bound(kept)
        columns = index[..., : self._high].minimum(ends - 1).clamp(min=0)
        self._codes = self._codes.take(columns) if self._high else None
        self._inner.keep((index[..., self._low :] - low).clamp(min=0))

    def settle(self, step: Step) -> None:
        self._inner.settle(step)
        most = self._inner.length - self._residual  # of the head with the fewest codes
        if step.moment is Moment.PREFILL or not step.settles or most < self._group_size:
            return
        if self._once and (step.moment is not Moment.PREFILL_END or self._codes is not None):
            return
        ends = self._ends()
        due = (self.length - ends - self._residual).div(self._group_size, rounding_mode="floor").clamp(min=0)
        due = due * self._group_size
        num = most // self._group_size * self._group_size
        source = ends - self._low + torch.arange(num, device=ends.device)
        fresh = self._encode(self._inner.read(source.clamp(max=self._inner.length - 1)))
        low, high = self._low, self._high
        self._bound(ends + due)
        self._codes = fresh if self._codes is None else self._codes.join(fresh)
        if low < high:  # each head's new codes move up to its old ones
            column = self._columns(0, self._high).minimum(ends + due - 1)
            self._codes = self._codes.take(torch.where(column < ends, column, column - ends + high))
        self._inner.keep(self._columns(self._low - low, self._inner.length))
        self._count(num)

    def select_rows(self, rows: Tensor) -> None:
        self._inner.select_rows(rows)
        if self._codes is not None:
            self._codes = self._codes.rows(rows)
        if self._split is not None and self._split.shape[0] > 1:
            self._split = self._split[rows]

    def tensors(self) -> Iterable[Tensor]:
        yield from self._inner.tensors()
        if self._codes is not None:
            yield from self._codes.tensors()
        if self._split is not None:
            yield self._split

    def clone(self) -> CodedStore:
        twin = copy(self)
        twin._inner = self._inner.clone()
        return twin

    def _ends(self) -> Tensor:
        """[B|1, H|1, 1] where each head's codes end."""
        if self._split is not None:
            return self._split
        return torch.full((1, 1, 1), self._high, device=self._like.device)

    def _bound(self, ends: Tensor) -> None:
        """Takes `ends` as the new split; where all heads agree none is kept."""
        self._low, self._high = int(ends.min()), int(ends.max())
        self._split = ends if self._low < self._high else None

    def _columns(self, start: int, stop: int) -> Tensor:
        return torch.arange(start, stop, device=self._like.device)[None, None]
