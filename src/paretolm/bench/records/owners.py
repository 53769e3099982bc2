"""Who works on a cell: a process, told apart from a later one of the same number."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil

_ADJUSTED_S = 3.0  # where the clock that a process's birth is derived from may be set meanwhile


def identity(part: str = "") -> str:
    """This process: machine, number, birth; and which part of it, where several of its parts take cells apart."""
    return f"{platform.node()}:{os.getpid()}:{_birth(os.getpid()):.0f}{part and f'#{part}'}"


def alive(owner: str | None) -> bool:
    """False where the owner has surely ended; a process on another machine counts as alive."""
    if not owner:
        return False
    node, pid, born = owner.partition("#")[0].rsplit(":", 2)
    if node != platform.node():
        return True
    try:
        process = psutil.Process(int(pid))
        same = abs(_birth(process.pid) - float(born)) < _ADJUSTED_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _birth(pid: int) -> float:
    """Seconds: since the machine was started where the system tells (Linux), which no set clock changes, else since
    the epoch. Raises psutil.NoSuchProcess."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
    except FileNotFoundError:
        return psutil.Process(pid).create_time()
    return int(after_name.split()[19]) / os.sysconf("SC_CLK_TCK")
