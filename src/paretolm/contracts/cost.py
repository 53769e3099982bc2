"""Predicted bytes: what a recipe will hold, as an interval before it is opened."""

from __future__ import annotations

from dataclasses import dataclass, replace

POSITION_BYTES = 4  # int32, one an entry where heads agree


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed range; exact when both ends are equal."""

    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> Interval:
        return cls(value, value)

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.high + other.high)

    def __mul__(self, other: Interval | float) -> Interval:
        o = other if isinstance(other, Interval) else Interval.exact(other)
        return Interval(self.low * o.low, self.high * o.high)

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def at_most(self, value: float) -> Interval:
        return Interval(min(self.low, value), min(self.high, value))


@dataclass(frozen=True, slots=True)
class LayerCost:
    """One attention layer's cache for one sequence.

    entries: held entries a key-value head. key_bytes, value_bytes: bytes an entry and head of keys and of
    values. position_bytes: bytes of an entry's original position, over all heads (0 in the model's own cache).
    fixed: bytes that do not grow with the entries (codebooks, scales).
    """

    heads: int
    entries: Interval
    key_bytes: Interval
    value_bytes: Interval
    position_bytes: float = 0
    fixed: Interval = Interval(0, 0)

    @property
    def bytes(self) -> Interval:
        per_head = self.entries * (self.key_bytes + self.value_bytes) * self.heads
        return per_head + self.entries * self.position_bytes + self.fixed


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes of one sequence under a recipe. Methods change the cost that stood before them."""

    layers: tuple[LayerCost, ...]
    weight_bytes: Interval
    index_bytes: Interval = Interval(0, 0)  # datastores, tables; a second model's are its own recipe's cost
    passes: Interval = Interval(1, 1)  # forwards of the whole model a generated token

    @property
    def kv_bytes(self) -> Interval:
        total = Interval(0, 0)
        for layer in self.layers:
            total = total + layer.bytes
        return total

    def with_layers(self, where: frozenset[int], change) -> Cost:  # type: ignore[no-untyped-def]
        """`change(LayerCost) -> LayerCost` on the layers of `where`."""
        layers = tuple(change(c) if i in where else c for i, c in enumerate(self.layers))
        return replace(self, layers=layers)
