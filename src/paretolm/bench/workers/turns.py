"""Who may use the machine: quality runs side by side, speed and memory only alone. Between all our processes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ...evaluation.machine import cache_dir


@contextmanager
def turn(alone: bool, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds the machine for quality (alone=False) or for speed and memory. waiting is called once if others hold it."""
    with held("turns", alone, waiting):
        yield


@contextmanager
def held(name: str, alone: bool = True, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds the lock `name`, alone or beside others that do not want it alone.

    A process that ends gives its locks back. Where there are no such locks (Windows) nobody waits."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    path = cache_dir() / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    with path.open("w") as file:
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
