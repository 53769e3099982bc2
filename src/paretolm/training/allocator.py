"""Freed memory stays with the process while a model is trained."""

from __future__ import annotations

import ctypes
import os
import sys

OFF = "PARETOLM_PLAIN_MALLOC"  # set: the allocator is left as it is (the benchmark compares both)
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # of mallopt, malloc.h


def keep_freed_memory() -> bool:
    """Whether it took effect: with glibc on Linux only.

    By itself glibc gives every large block back when it is freed, and each step of a training run then asks for the
    same pages again, zeroed one by one. What is never given back is there until the process ends."""
    if sys.platform != "linux" or os.environ.get(OFF):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    return all(libc.mallopt(what, value) for what, value in ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1)))
