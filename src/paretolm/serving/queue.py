"""Who is next: clients take turns, and the requests of one client keep their order."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """What waits, by client."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[T]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def add(self, client: str, one: T) -> None:
        self._lines.setdefault(client, deque()).append(one)

    def next(self) -> T | None:
        """The first of the client whose turn it is; that client goes to the end."""
        if not self._lines:
            return None
        client, line = self._lines.popitem(last=False)
        one = line.popleft()
        if line:
            self._lines[client] = line
        return one

    def remove(self, client: str, one: T) -> None:
        """Nothing, where it does not wait any more."""
        line = self._lines.get(client, deque())
        if one in line:
            line.remove(one)
            if not line:
                del self._lines[client]

    def clear(self) -> list[T]:
        """Everything that waited."""
        gone = [one for line in self._lines.values() for one in line]
        self._lines.clear()
        return gone
