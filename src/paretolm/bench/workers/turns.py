"""Who may use the machine: quality runs side by side, speed and memory only alone. Between all our processes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

from ...evaluation.machine import cache_dir


@contextmanager
def turn(alone: bool, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds the machine for quality (alone=False) or for speed and memory. waiting is called once if others hold it.

    A process that ends gives its turn back. Where there are no such locks (Windows) nobody waits."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    with _lock_file() as file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except OSError:
            waiting()
            fcntl.flock(file, kind)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)


def _lock_file() -> IO[str]:
    path = cache_dir() / "turns.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w")
