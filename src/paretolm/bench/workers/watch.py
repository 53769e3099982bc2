"""Watches a worker while it is asked something, and ends one that hangs.

A long step may say nothing for hours and yet be at work, so silence alone is no sign: a worker hangs if it is silent
and for `idle_s` has used neither a processor nor a disk, or if it is silent for a whole day, however busy.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self

import psutil

IDLE_S = 600.0
SILENT_S = 86_400.0
_POLL_S = 5.0
_CPU_S = 1.0  # of a processor since it was last seen at work; what a waiting process uses stays below
_BYTES = 1 << 20  # read or written since then


class Watch:
    """Used in a `with` block; `heard` is told of every line. why: the sentence it was ended with, else empty."""

    def __init__(self, pid: int, end: Callable[[], None], idle_s: float = IDLE_S, silent_s: float = SILENT_S) -> None:
        self.why = ""
        self._pid, self._end, self._idle_s, self._silent_s = pid, end, idle_s, silent_s
        self._last = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def heard(self) -> None:
        self._last = time.monotonic()

    def _run(self) -> None:
        done, working = work(self._pid), time.monotonic()
        while not self._over.wait(min(_POLL_S, self._idle_s / 4)):
            now, so_far = time.monotonic(), work(self._pid)
            if so_far[0] - done[0] > _CPU_S or so_far[1] - done[1] > _BYTES or self._last > working:
                done, working = so_far, now
            if now - max(working, self._last) > self._idle_s:
                self._stop(f"it said nothing and used neither a processor nor a disk for {_minutes(self._idle_s)}")
                return
            if now - self._last > self._silent_s:
                self._stop(f"it said nothing for {_minutes(self._silent_s)}")
                return

    def _stop(self, what: str) -> None:
        self.why = (
            f"the process hung: {what}, and was ended; what was finished is kept, and the same call goes on there"
        )
        self._end()


def work(pid: int) -> tuple[float, int]:
    """Seconds of processors, and bytes read and written, of a process and its children so far; (0, 0) once it is
    gone."""
    seconds, moved = 0.0, 0
    try:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            times = one.cpu_times()
            seconds += times.user + times.system
            moved += _moved(one)
    except psutil.Error:
        return 0.0, 0
    return seconds, moved


def _moved(process: psutil.Process) -> int:
    if not hasattr(process, "io_counters"):  # not on every system
        return 0
    counted = process.io_counters()
    return int(counted.read_bytes + counted.write_bytes)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
