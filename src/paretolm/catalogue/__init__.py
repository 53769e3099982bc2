"""The catalogue of papers: one file of entries in our own words, joined with what runs here and what was measured.

No module here loads torch. `papers.jsonl` holds one entry a line, the newest first. What `papers sync` adds lies in a
file of the user (`shelf`) and stands beside them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from ..errors import UserError, close_to
from .entry import Entry, read

FILE = Path(__file__).parent / "papers.jsonl"


@cache
def entries() -> tuple[Entry, ...]:
    """Every paper, the newest first."""
    return read(FILE)


def find(name: str, among: Sequence[Entry] | None = None) -> Entry:
    """The entry of an id or an arXiv id, of `among` or the catalogue. Raises UserError with the nearest match."""
    found = entries() if among is None else among
    wanted = re.sub(r"^arxiv:|(?<=\d)v\d+$", "", name.lower()).replace("_", "-")
    for entry in found:
        if wanted in (entry.id, entry.arxiv):
            return entry
    hint = close_to(wanted, [entry.id for entry in found]) or "; `paretolm papers` lists them"
    raise UserError(f"no paper is called {name!r}{hint}")
