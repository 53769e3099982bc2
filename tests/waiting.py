"""Waits for what another process does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any


def wait_for(happened: Callable[[], Any], process: subprocess.Popen[Any] | None = None, seconds: float = 120) -> None:
    """Fails where it does not happen in time, or the process that should do it has ended."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"it did not happen within {seconds:g} s"
        time.sleep(0.05)
