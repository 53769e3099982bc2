"""Where cells were measured, if not all of them on the machine of the call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ...evaluation.machine import machine
from ..records.store import CellRecord


def elsewhere(records: Iterable[CellRecord]) -> tuple[str, ...]:
    """A note for the report, where there is something to say. Speed and memory never are from elsewhere: their cells
    are of one machine each."""
    here = machine().hash
    metas = [r.meta for r in records if r.state in ("done", "partial") and r.meta.get("kind") == "quality"]
    found = Counter(m["machine"]["cpu"] for m in metas if m.get("machine", {}).get("hash", here) != here)
    if not found:
        return ()
    told = ", ".join(f"{cpu}: {count}" for cpu, count in found.most_common())
    return (f"{found.total()} of {len(metas)} quality cells were measured on other machines ({told})",)
