"""benchmarks/serve_soak.py in small: the server killed once among eight clients."""

from __future__ import annotations

from pathlib import Path

from benchmarks.serve_soak import parse, soak


def test_nothing_is_lost_mixed_up_or_leaked(saved: Path):
    given = ["--model", str(saved), "--requests", "100", "--clients", "8", "--ends", "KILL", "--warm-up", "20"]
    found = soak(parse(given))
    assert found["passed"], found
    assert found["outcomes"]["answered"] > 40
    assert sum(found["outcomes"].values()) == 100
    assert {"cut by a kill", "left in the middle", "left unread", "refused, 400"} <= set(found["outcomes"])
