"""The catalogue of papers: one file of entries in our own words, joined with what runs here and what was measured.

No module here loads torch. `papers.jsonl` holds one entry a line, the newest first."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ..errors import UserError, close_to
from .entry import Entry, read

FILE = Path(__file__).parent / "papers.jsonl"


@cache
def entries() -> tuple[Entry, ...]:
    """Every paper, the newest first."""
    return read(FILE)


def find(name: str) -> Entry:
    """The entry of an id or an arXiv id. Raises UserError with the nearest match."""
    wanted = name.removeprefix("arXiv:").lower().replace("_", "-")
    for entry in entries():
        if wanted in (entry.id, entry.arxiv):
            return entry
    hint = close_to(wanted, [entry.id for entry in entries()]) or "; `paretolm papers` lists them"
    raise UserError(f"no paper is called {name!r}{hint}")
