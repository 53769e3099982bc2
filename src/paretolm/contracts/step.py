"""Step: what every part may know of the forward under way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from torch import Tensor

from .slots import Moment


@dataclass(frozen=True, slots=True)
class Step:
    """One forward.

    ids: [B, Q] or None (embeddings were given). positions: [B or 1, Q], original positions; -1 marks
    padding. padding: [B] number of left-padding tokens a row, or None. seen: tokens that went through
    the cache before this forward (padding included). spans: name -> (start, end) in original positions.
    tree: [Q, Q] bool, True where query i may read draft j (itself and its ancestors), or None.
    """

    ids: Tensor | None
    positions: Tensor
    moment: Moment
    seen: int
    padding: Tensor | None = None
    spans: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    tree: Tensor | None = None

    @property
    def num_queries(self) -> int:
        return self.positions.shape[-1]

    @property
    def settles(self) -> bool:
        """False while drafts are verified: what is held is not yet decided."""
        return self.moment is not Moment.VERIFY


_CURRENT: ContextVar[Step | None] = ContextVar("paretolm_step", default=None)


def current_step() -> Step:
    """The forward under way. Raises LookupError outside of one."""
    step = _CURRENT.get()
    if step is None:
        raise LookupError("no forward is under way")
    return step


@contextmanager
def entering(step: Step) -> Iterator[Step]:
    token = _CURRENT.set(step)
    try:
        yield step
    finally:
        _CURRENT.reset(token)
