"""Directories that appear when they are complete, and a sentence where a disk does not take them."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from ..errors import RunError

NOT_WRITTEN = (OSError, RuntimeError, SafetensorError)  # Python's, torch's and safetensors' word for it
_FULL = 1 << 20  # bytes free, below which a write failed for want of room whatever torch says of it


@contextmanager
def whole(directory: Path) -> Iterator[Path]:
    """A new directory to fill, which takes the name of `directory` when it is complete; else nothing is left of it.

    Raises RunError where it cannot be written; what was there before stays."""
    partial = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        shutil.rmtree(directory, ignore_errors=True)
        partial.rename(directory)
    except RunError:
        raise
    except NOT_WRITTEN as error:
        raise unwritten(error, directory) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def unwritten(error: Exception, path: Path) -> RunError:
    """The sentence for a write that failed."""
    known = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if known or "No space left" in str(error) or _free(path) < _FULL:
        return RunError(f"{path} could not be written, the disk is full: make room, and the same command goes on")
    reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
    return RunError(f"{path} could not be written: {reason}; where that is mended, the same command goes on")


def _free(path: Path) -> int:
    return shutil.disk_usage(next(p for p in path.absolute().parents if p.exists())).free
