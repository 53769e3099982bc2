"""Quality runs side by side; speed and memory wait until they are alone, and others wait for them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from paretolm.bench.workers.turns import turn

HOLDER = """
import sys
from paretolm.bench.workers.turns import turn
with turn(alone=sys.argv[1] == "alone"):
    print("holds", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize(
    ("held", "wanted", "waits"),
    [("alone", "alone", True), ("alone", "beside", True), ("beside", "alone", True), ("beside", "beside", False)],
)
def test_who_waits_for_whom(held: str, wanted: str, waits: bool) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDER, held], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    )
    assert other.stdin is not None
    assert other.stdout is not None
    assert other.stdout.readline() == "holds\n"
    waited = []

    def waiting() -> None:
        waited.append(True)
        other.kill()  # who dies gives the turn back

    with turn(alone=wanted == "alone", waiting=waiting):
        assert bool(waited) == waits
    other.kill()
    other.wait()
    other.stdin.close()
    other.stdout.close()
