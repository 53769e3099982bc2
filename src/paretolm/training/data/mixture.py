"""Packed windows, some of them with planted facts that are asked for later, some with spans that come again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...contracts.knobs import knob
from ...errors import UserError
from .. import planted
from ..contracts import DataOrder, Sampled, Source
from .packed import Windows

_SPAN = (16, 128)  # tokens of a repeated span


@dataclass(frozen=True, kw_only=True)
class Mixture(DataOrder):
    """Shares of all sequences. Without planted facts a small model learns to look things up late or never.

    late_planted takes the place of planted from sequence late_from on (0: never): a share that would cost a young
    model text is worth more to one that has begun to copy."""

    name: ClassVar[str] = "mixture"

    planted: float = knob(0.12, low=0, high=1)
    repeated: float = knob(0.04, low=0, high=1)
    most_facts: int = knob(6, low=1, high=16, help="planted in one sequence")
    late_from: int = knob(0, low=0)
    late_planted: float = knob(0.0, low=0, high=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        most = max(self.planted, self.late_planted)
        if most + self.repeated > 1:
            raise UserError(f"mixture: planted {most} and repeated {self.repeated} are more than everything")

    def open(self, source: Source) -> Callable[[int], Sampled]:
        windows = Windows(source)
        writer = planted.Writer(source.encode, self.most_facts)

        def sequence(number: int) -> Sampled:
            rng = np.random.default_rng([source.seed, 2, number])
            body, kind = windows.body(number), rng.random()
            share = self.late_planted if 0 < self.late_from <= number else self.planted
            if kind < share:
                body = writer.plant(body, rng)
            elif kind < share + self.repeated:
                body = repeat(body, rng)
            return Sampled(np.concatenate([[source.bos], body]))

        return sequence


def repeat(body: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The window with a span of itself written over later places, once to three times."""
    size = int(rng.integers(_SPAN[0], min(_SPAN[1], len(body) // 3) + 1)) if len(body) >= 3 * _SPAN[0] else 0
    if not size:
        return body
    start = int(rng.integers(len(body) - 2 * size + 1))
    changed = body.copy()
    for _ in range(int(rng.integers(1, 4))):
        to = int(rng.integers(start + size, len(body) - size + 1))
        changed[to : to + size] = body[start : start + size]
    return changed
