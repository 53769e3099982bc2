"""What acts on one layer during one request, and what its parts may read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..contracts import AttendMask, AttendPart, Held, IndexPart, KeepPart, Observe, Side, Store, StorePart
from .plain_store import PlainStore

if TYPE_CHECKING:
    from .layer import HeldLayer


@dataclass
class LayerParts:
    """What acts on one layer during one request."""

    keep: KeepPart | None = None
    attend: list[AttendPart] = field(default_factory=list)
    index: IndexPart | None = None
    stores: list[StorePart] = field(default_factory=list)
    observe: Observe = field(default_factory=Observe)

    def all(self) -> Iterable[Any]:
        return (p for p in (self.keep, *self.attend, self.index, *self.stores) if p is not None)

    @cached_property
    def masks(self) -> list[AttendMask]:
        """Parts that hide entries from a query."""
        return [p for p in (self.keep, *self.attend) if isinstance(p, AttendMask)]

    def new_store(self, side: Side) -> Store:
        """The chain of codecs for one side; the last link is plain tensors."""
        make: Callable[[], Store] = PlainStore
        for part in reversed(self.stores):
            make = _link(part, side, make)
        return make()


def _link(part: StorePart, side: Side, inner: Callable[[], Store]) -> Callable[[], Store]:
    return lambda: part.store(side, inner)


class LayerHeld(Held):
    """What parts may read of a layer."""

    def __init__(self, layer: HeldLayer) -> None:
        self._layer = layer
        self.turn: Callable[[Tensor, Tensor], Tensor] | None = None  # set by attention

    @property
    def layer(self) -> int:
        return self._layer.index

    @property
    def length(self) -> int:
        return self._layer.length

    @property
    def seen(self) -> int:
        return self._layer.seen

    @property
    def positions(self) -> Tensor:
        assert self._layer.positions is not None
        return self._layer.positions

    def keys(self, index: Tensor | None = None) -> Tensor:
        return self._layer.key_store.read(index)

    def values(self, index: Tensor | None = None) -> Tensor:
        return self._layer.value_store.read(index)

    def turned(self, x: Tensor, by: Tensor) -> Tensor:
        assert self.turn is not None, "nothing was attended to yet"
        return self.turn(x, by)


class HeldUpTo(Held):
    """What a layer holds up to the last query of a block; what stands behind it belongs to later queries."""

    def __init__(self, whole: Held, length: int, seen: int) -> None:
        self._whole, self._length, self._seen = whole, length, seen

    @property
    def layer(self) -> int:
        return self._whole.layer

    @property
    def length(self) -> int:
        return self._length

    @property
    def seen(self) -> int:
        return self._seen

    @property
    def positions(self) -> Tensor:
        return self._whole.positions[..., : self._length]

    def keys(self, index: Tensor | None = None) -> Tensor:
        return self._whole.keys()[:, :, : self._length] if index is None else self._whole.keys(index)

    def values(self, index: Tensor | None = None) -> Tensor:
        return self._whole.values()[:, :, : self._length] if index is None else self._whole.values(index)

    def turned(self, x: Tensor, by: Tensor) -> Tensor:
        return self._whole.turned(x, by)
