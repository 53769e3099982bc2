"""Who may use the machine: quality runs side by side, speed and memory only alone. Between all our processes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from ...evaluation.machine import cache_dir
from ...files import locked


def turn(alone: bool, waiting: Callable[[], None] = lambda: None) -> AbstractContextManager[None]:
    """Holds the machine for quality (alone=False) or for speed and memory. waiting is called once if others hold it."""
    return held("turns", alone, waiting)


def held(name: str, alone: bool = True, waiting: Callable[[], None] = lambda: None) -> AbstractContextManager[None]:
    """Holds the lock `name` of the user's cache, as files.locked."""
    return locked(cache_dir() / f"{name}.lock", alone, waiting)
