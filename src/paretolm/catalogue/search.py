"""Search by words: BM25 of sqlite's full-text index, in memory."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable

from ..errors import RunError
from .entry import Entry

# How much a word counts where it stands: id, title, what is done, what is claimed, what is shown, the filters' values.
_WEIGHTS = (8.0, 6.0, 3.0, 2.0, 1.0, 2.0, 4.0)
_COLUMNS = ("id", "title", "says", "claims", "shows", "filed", "authors")


class Words:
    """An index over entries; words are cut to their stems, so that 'quantized' finds 'quantization'."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        """Raises RunError where sqlite was built without full-text search."""
        self._db = sqlite3.connect(":memory:")
        self._entries = tuple(entries)
        try:
            self._db.execute(f"create virtual table e using fts5({', '.join(_COLUMNS)}, tokenize='porter unicode61')")
        except sqlite3.OperationalError as error:
            raise RunError(f"papers cannot be searched with this Python: sqlite says {error}") from error
        rows = [
            (i, e.id, e.title, e.says, e.claims, e.shows, _filed(e), " ".join(e.authors))
            for i, e in enumerate(self._entries)
        ]
        self._db.executemany(f"insert into e(rowid, {', '.join(_COLUMNS)}) values (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def find(self, words: str, limit: int = 50) -> list[Entry]:
        """The best first. Entries with all words; where there are none, with any of them."""
        terms = [f'"{word}"' for word in re.findall(r"\w+", words)]
        for joined in dict.fromkeys((" ".join(terms), " OR ".join(terms))) if terms else ():
            found = self._db.execute(
                f"select rowid from e where e match ? order by bm25(e, {', '.join(map(str, _WEIGHTS))}), rowid limit ?",
                (joined, limit),
            ).fetchall()
            if found:
                return [self._entries[row] for (row,) in found]
        return []


def _filed(entry: Entry) -> str:
    return " ".join([entry.family, entry.kind, *entry.slots, *entry.needs, *entry.categories])
