"""Files that several processes share: written whole or not at all, and by one after the other."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import StoreError


def write_whole(path: Path, text: str) -> None:
    """What was there stays until all of it is written; folders on the way are made. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def write_asked(path: Path, text: str, cure: str) -> Path:
    """As write_whole, of a file that the user named. cure: what to give where it cannot be. Raises StoreError."""
    try:
        write_whole(path, text)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}); give {cure}") from error
    return path


@contextmanager
def locked(path: Path, alone: bool = True, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds the lock that is this file, alone or beside others that do not want it alone, between all our processes.

    waiting: called once where others hold it; an error of it ends the wait. A process that ends gives its locks back.
    Where there are no such locks (Windows) nobody waits. Raises OSError where the file cannot be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        if sys.platform != "win32":
            import fcntl

            kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(file, kind)
        yield
