"""Windows of the text in random order, each begun with <bos>; every epoch cuts elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from ...contracts.knobs import knob
from ..contracts import DataOrder, Sampled, Source


@dataclass(frozen=True, kw_only=True)
class Packed(DataOrder):
    """Documents stand one after the other, each ended by <eos>, and are cut into windows of equal length.

    boundaries: 'eos' lets attention look into the document before; 'masked' begins each document at position 0
    again and hides what came before it."""

    name: ClassVar[str] = "packed"

    boundaries: str = knob("eos", choices=("eos", "masked"), help="eos, masked")

    def open(self, source: Source) -> Callable[[int], Sampled]:
        windows = Windows(source)

        def sequence(number: int) -> Sampled:
            ids = np.concatenate([[source.bos], windows.body(number)])
            return Sampled(ids, restarts(ids, source.eos) if self.boundaries == "masked" else None)

        return sequence


class Windows:
    """The text in windows of length - 1 tokens, a permutation of them an epoch."""

    def __init__(self, source: Source) -> None:
        self._ids, self._size, self._seed = source.text.ids, source.length - 1, source.seed
        self.count = (len(self._ids) - self._size) // self._size
        self._order = lru_cache(2)(self._shuffled)

    def body(self, number: int) -> np.ndarray:
        """Window `number` of the whole run, [length - 1]."""
        epoch, place = divmod(number, self.count)
        offset, order = self._order(epoch)
        start = offset + int(order[place]) * self._size
        return self._ids[start : start + self._size].astype(np.int64)

    def _shuffled(self, epoch: int) -> tuple[int, np.ndarray]:
        rng = np.random.default_rng([self._seed, 1, epoch])
        return int(rng.integers(self._size)), rng.permutation(self.count)


def restarts(ids: np.ndarray, eos: int) -> np.ndarray:
    """Positions that begin at 0 again after each <eos>."""
    place = np.arange(len(ids))
    begins = np.flatnonzero(ids == eos) + 1
    last = np.zeros(len(ids), np.int64)
    last[begins[begins < len(ids)]] = begins[begins < len(ids)]
    return place - np.maximum.accumulate(last)
