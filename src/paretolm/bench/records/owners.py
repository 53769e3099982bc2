"""Who works on a cell: a process, told apart from a later one of the same number."""

from __future__ import annotations

import os
import platform

import psutil

_ADJUSTED_S = 3.0  # the clock that a process's birth is derived from may be set meanwhile


def identity() -> str:
    """This process: machine, number, birth."""
    return f"{platform.node()}:{os.getpid()}:{psutil.Process().create_time():.0f}"


def alive(owner: str | None) -> bool:
    """False where the owner has surely ended; a process on another machine counts as alive."""
    if not owner:
        return False
    node, pid, born = owner.rsplit(":", 2)
    if node != platform.node():
        return True
    try:
        process = psutil.Process(int(pid))
        same = abs(process.create_time() - float(born)) < _ADJUSTED_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
