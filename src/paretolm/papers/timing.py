"""Jobs timed in turns, so that drift and load hit all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from ..studies.study import Number
from .numbers import median

Jobs = Mapping[str, Callable[[], object]]


def turns(jobs: Jobs, repeats: int) -> dict[str, list[float]]:
    """Job -> seconds of each repeat. The first turn of each is not counted, and who goes first alternates."""
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for repeat in range(repeats + 1):
        for name in list(jobs) if repeat % 2 else reversed(list(jobs)):
            start = time.perf_counter()
            jobs[name]()
            found[name].append(time.perf_counter() - start)
    return {name: seconds[1:] for name, seconds in found.items()}


def faster(own: Sequence[float], other: Sequence[float], work: float = 1) -> Number:
    """How many times as fast, the median of the repeats. work: what one of our turns does in turns of the other."""
    return median([work * b / a for a, b in zip(own, other, strict=True)])
