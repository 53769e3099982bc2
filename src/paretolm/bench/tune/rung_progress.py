"""Progress of a search: the same cell comes up on several rungs, and counts each time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ..progress import Progress


class RungProgress(Progress):
    """Tells `inner` of each plan's cells apart from those of the plans before."""

    def __init__(self, inner: Progress) -> None:
        self.inner, self.plans = inner, 0

    def _key(self, key: str) -> str:
        return f"{self.plans} {key}"

    def plan(self, labels: Mapping[str, str]) -> None:
        self.plans += 1
        self.inner.plan({self._key(key): label for key, label in labels.items()})

    def update(self, key: str, share: float) -> None:
        self.inner.update(self._key(key), share)

    def finish(self, key: str) -> None:
        self.inner.finish(self._key(key))

    def fail(self, key: str, reason: str) -> None:
        self.inner.fail(self._key(key), reason)

    def note(self, text: str) -> None:
        self.inner.note(text)

    @contextmanager
    def showing(self) -> Iterator[None]:
        with self.inner.showing():
            yield
