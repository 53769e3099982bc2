"""Bands cut to the keys that they concern, so that a query reads no key twice for nothing."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from paretolm.contracts import Band


def distances(query_positions: Tensor, key_positions: Tensor) -> Tensor:
    """[B|1, H|1, Q, n] of query_positions [B|1, Q] and key_positions [B|1, H|1, n]; below zero: not yet written."""
    return query_positions[:, None, :, None] - key_positions[:, :, None, :]


def cut(bands: Iterable[tuple[Tensor, Tensor, Tensor]]) -> list[Band]:
    """Bands of (query_positions [B|1, Q], key_positions [B|1, H|1, n], allowed [B|1, H|1, Q, n]), each over the
    stretch of keys that any of its queries may read; a band that nobody reads is left out."""
    found = []
    for queries, keys, allowed in bands:
        read = allowed.flatten(0, 2).any(0).nonzero()[:, 0]
        if len(read):
            stretch = slice(int(read[0]), int(read[-1]) + 1)
            own = allowed[..., stretch]
            found.append(Band(keys[..., stretch], queries, keys=stretch, allowed=None if bool(own.all()) else own))
    return found


def beyond(query_positions: Tensor, key_positions: Tensor, distance: int) -> int:
    """How many queries [B|1, Q] stand at least `distance` behind the first key that is held."""
    written = key_positions[key_positions >= 0]
    return int((query_positions - written.min() >= distance).sum()) if written.numel() else 0
