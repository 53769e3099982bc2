"""A cache layer and a session reduced to what a KEEP part asks of them."""

from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor


class FakeContext(SimpleNamespace):
    """Counts, and shows one layer of `kv_heads` heads."""

    def __init__(self, kv_heads: int = 1) -> None:
        layer = SimpleNamespace(num_kv_heads=kv_heads)
        super().__init__(counts=Counter(), view=SimpleNamespace(layers=[layer]))

    def count(self, counter: str, amount: int = 1) -> None:
        self.counts[counter] += amount


@dataclass
class FakeHeld:
    """positions [B|1, H|1, n]; keys [B, H, n, D] where a method reads them."""

    positions: Tensor
    seen: int
    own_keys: Tensor | None = None
    layer: int = 0

    @property
    def length(self) -> int:
        return self.positions.shape[-1]

    def keys(self, index: Tensor | None = None) -> Tensor:
        assert index is None
        assert self.own_keys is not None
        return self.own_keys


def positions(*rows: range | list[int]) -> Tensor:
    """[B, 1, n] int32."""
    return torch.tensor([list(row) for row in rows], dtype=torch.int32)[:, None]


def padded(length: int, *real: int) -> Tensor:
    """[B, 1, length] of a left-padded batch whose rows have `real` tokens."""
    return positions(*([-1] * (length - n) + list(range(n)) for n in real))
