"""What is going on in one check, as one share of it, told to whoever shows all checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..bench.progress import Progress

Tell = Callable[[Mapping[str, Any]], None]


class Telling(Progress):
    """The progress of one experiment as events about one check: `share` of it is done before this experiment,
    and `part` of it is this experiment's."""

    def __init__(self, tell: Tell, check: str, share: float = 0.0, part: float = 1.0) -> None:
        self._tell, self._check, self._share, self._part = tell, check, share, part
        self._cells: dict[str, float] = {}

    def plan(self, labels: Mapping[str, str]) -> None:
        self._cells = dict.fromkeys(labels, 0.0) | self._cells

    def update(self, key: str, share: float) -> None:
        self._cells[key] = share
        done = sum(self._cells.values()) / len(self._cells)
        self._tell({"event": "progress", "cell": self._check, "done": self._share + done * self._part, "total": 1.0})

    def finish(self, key: str) -> None:
        self.update(key, 1.0)

    def fail(self, key: str, reason: str) -> None:
        self.update(key, 1.0)

    def note(self, text: str) -> None:
        self._tell({"event": "note", "text": f"{self._check}: {text}"})

    def within(self, share: float, part: float) -> Telling:
        return Telling(self._tell, self._check, share, part)


class Stages:
    """The experiments of a check one after the other, each an equal share of it."""

    def __init__(self, progress: Progress, check: str, count: int) -> None:
        self._progress, self._check, self._count, self._done = progress, check, count, 0

    @contextmanager
    def stage(self) -> Iterator[Progress]:
        whole = self._progress
        yield whole.within(self._done / self._count, 1 / self._count) if isinstance(whole, Telling) else whole
        self._done += 1
        whole.update(self._check, self._done / self._count)
