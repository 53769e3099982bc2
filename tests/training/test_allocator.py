"""Freed memory stays with a process that asks for it, and with no other."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from paretolm.training.allocator import OFF

BLOCK = 64 << 20
FREED = f"""
import os
from paretolm.training.allocator import keep_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

took, before = keep_freed_memory(), resident()
block = b"x" * {BLOCK}
held = resident() - before
del block
print(took, held, resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own matter")
@pytest.mark.parametrize("off", ["", "1"])
def test_freed_memory_stays_unless_told_otherwise(off: str) -> None:
    environment = {**os.environ, OFF: off}
    done = subprocess.run([sys.executable, "-c", FREED], check=True, capture_output=True, text=True, env=environment)
    took, held, kept = done.stdout.split()
    if not off and took == "False":
        pytest.skip("no glibc here")
    assert took == str(not off)
    assert int(held) > 0.9 * BLOCK
    assert (int(kept) > 0.9 * BLOCK) == (not off)


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from paretolm.training import allocator

    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    assert allocator.keep_freed_memory() is False
