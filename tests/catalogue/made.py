"""Entries and records by hand."""

from __future__ import annotations

from paretolm.catalogue.entry import Entry

BLANK = Entry(
    id="blank", title="", arxiv=None, date=None, family="cache", kind="method", slots=(), needs=(), says="", claims="",
    shows="",
)  # fmt: skip


def entry(name: str, says: str = "", **facts: object) -> Entry:
    return Entry(**{**vars(BLANK), "id": name, "says": says, **facts})


def record(name: str, *states: str) -> dict[str, object]:
    """A record of a check with these verdicts."""
    number = {"value": 2.0, "unit": "x", "low": 1.5, "high": 2.5, "n": 20, "note": ""}
    claims = [
        {
            "says": f"claim {i}", "figure": "twice", "size": "7B", "section": "table 1", "state": state, "why": "",
            "numbers": {"speed": number},
        }
        for i, state in enumerate(states)
    ]  # fmt: skip
    return {"format": 1, "id": name, "claims": claims}
