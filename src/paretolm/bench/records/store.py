"""The results file: every measured item of every cell, in SQLite.

A cell is one recipe on one task under one set of conditions; its key is a hash of all of them. Rows of an
item and the item's own mark are written in one transaction, the cell's mark `done` in a later one: what is
marked is there, whenever the process dies. Writing the same item again replaces it.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import StoreError
from ...evaluation.rows import Row
from . import tables
from .owners import alive, identity

SETTLED = ("done", "failed")


@dataclass(frozen=True, slots=True)
class Scored:
    """One item of a cell with its rows; facts: counters, bytes held and lengths of that item alone."""

    item: str
    doc: str
    rows: Sequence[Row]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CellRecord:
    """A cell's state, with one sentence in error where it failed.

    new, running, done; partial: its items are good, the others were not needed yet; failed: only other inputs would
    help; broken: killed or out of memory, so tried again.
    """

    key: str
    state: str
    meta: Mapping[str, Any]
    error: str | None = None
    started: float | None = None
    finished: float | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One call of compare: what was asked, with the keys of its cells under 'cells'."""

    id: int
    started: float
    finished: float | None
    request: Mapping[str, Any]


class Store:
    """One results file. Safe for several processes at a time; one object belongs to one thread.

    owner: who takes cells, as owners.identity says it; by default this process."""

    def __init__(self, path: Path | str, owner: str = "") -> None:
        self.path, self.owner = Path(path), owner or identity()
        with self._guarded():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=tables.BUSY_MS / 1000, isolation_level=None)
        try:
            with self._guarded():
                self._open()
        except StoreError:
            self._db.close()
            raise

    def _open(self) -> None:
        self._db.execute(f"PRAGMA busy_timeout = {tables.BUSY_MS}")
        tables.check(self._db, self.path)
        tables.enter_wal(self._db)
        self._db.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing, a power cut the last items
        self._db.execute("PRAGMA foreign_keys = ON")
        if self._db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("its pages do not check out")
        with self._writing():
            tables.make(self._db, self.path)

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- cells ---------------------------------------------------------------------------------------

    def plan(self, cells: Mapping[str, Mapping[str, Any]]) -> None:
        """Makes known every cell (key -> meta) that is not yet. A finished cell keeps the meta it was measured by."""
        with self._writing():
            self._db.executemany(
                "INSERT INTO cells (key, state, meta) VALUES (?, 'new', ?) "
                "ON CONFLICT(key) DO UPDATE SET meta = excluded.meta WHERE state != 'done'",
                [(key, _dump(meta)) for key, meta in cells.items()],
            )

    def cells(self, keys: Sequence[str]) -> dict[str, CellRecord]:
        """The records of those keys that are known, in the order given."""
        with self._guarded():
            found = {
                r[0]: CellRecord(r[0], r[1], json.loads(r[2]), r[3], r[4], r[5])
                for part in _parts(keys)
                for r in self._db.execute(
                    f"SELECT key, state, meta, error, started, finished FROM cells WHERE key IN ({_marks(part)})", part
                )
            }
        return {key: found[key] for key in keys if key in found}

    def cell_keys(self, prefix: str = "") -> list[str]:
        """Of the cells whose key begins so, the newest first."""
        with self._guarded():
            return [
                key
                for (key,) in self._db.execute(
                    "SELECT key FROM cells WHERE substr(key, 1, ?) = ? ORDER BY started DESC, key",
                    (len(prefix), prefix),
                )
            ]

    def claim(self, keys: Sequence[str]) -> list[str]:
        """Takes the unfinished cells of `keys` that no live process holds; answers those now held by this one."""
        taken = []
        with self._writing():
            for key in keys:
                row = self._db.execute("SELECT state, owner FROM cells WHERE key = ?", (key,)).fetchone()
                if row is None or row[0] in SETTLED:
                    continue
                if row[0] == "running" and row[1] != self.owner and alive(row[1]):
                    continue
                self._db.execute(
                    "UPDATE cells SET state = 'running', owner = ?, started = ?, error = NULL WHERE key = ?",
                    (self.owner, time.time(), key),
                )
                taken.append(key)
        return taken

    def held_elsewhere(self, keys: Sequence[str]) -> list[str]:
        """Cells that another live process is working on."""
        with self._guarded():
            rows = [
                r
                for part in _parts(keys)
                for r in self._db.execute(
                    f"SELECT key, owner FROM cells WHERE state = 'running' AND key IN ({_marks(part)})", part
                )
            ]
        return [key for key, owner in rows if owner != self.owner and alive(owner)]

    def finish(self, key: str) -> None:
        self._mark(key, "done", None)

    def leave(self, key: str) -> None:
        """Lets go of a cell before its last item: the items stay, and whoever needs the others goes on from there."""
        self._mark(key, "partial", None)

    def let_go(self) -> None:
        """Leaves all that this owner works on, for others to go on from there."""
        with self._writing():
            self._db.execute(
                "UPDATE cells SET state = 'partial', owner = NULL WHERE state = 'running' AND owner = ?", (self.owner,)
            )

    def fail(self, key: str, sentence: str, *, again: bool = False) -> None:
        """again: the same call may succeed later (memory was short), so the items stay and it is tried again."""
        self._mark(key, "broken" if again else "failed", sentence)

    def _mark(self, key: str, state: str, error: str | None) -> None:
        with self._writing():
            self._db.execute(
                "UPDATE cells SET state = ?, owner = NULL, finished = ?, error = ? WHERE key = ? AND state != 'done'",
                (state, time.time(), error, key),
            )

    # --- items ---------------------------------------------------------------------------------------

    def add(self, scored: Iterable[tuple[str, Scored]]) -> None:
        """Writes items (cell, item) with all their rows at once; an item that is there already is replaced."""
        with self._writing():
            for cell, one in scored:
                self._db.execute("DELETE FROM items WHERE cell = ? AND item = ?", (cell, one.item))
                self._db.execute("INSERT INTO items VALUES (?, ?, ?, ?)", (cell, one.item, one.doc, _dump(one.facts)))
                self._db.executemany(
                    "INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    [
                        (cell, one.item, i, r.doc, r.metric, r.value, r.weight, _dump(dict(r.tags)))
                        for i, r in enumerate(one.rows)
                    ],
                )

    def item_names(self, cell: str) -> set[str]:
        with self._guarded():
            return {r[0] for r in self._db.execute("SELECT item FROM items WHERE cell = ?", (cell,))}

    def items(self, cell: str) -> list[Scored]:
        """All items of a cell, by name."""
        with self._guarded():
            rows: dict[str, list[Row]] = {}
            for item, doc, metric, value, weight, tags in self._db.execute(
                "SELECT item, doc, metric, value, weight, tags FROM rows WHERE cell = ? ORDER BY item, seq", (cell,)
            ):
                rows.setdefault(item, []).append(Row(item, doc, metric, value, weight, json.loads(tags)))
            return [
                Scored(item, doc, rows.get(item, []), json.loads(facts))
                for item, doc, facts in self._db.execute(
                    "SELECT item, doc, facts FROM items WHERE cell = ? ORDER BY item", (cell,)
                )
            ]

    # --- runs and memos ------------------------------------------------------------------------------

    def start_run(self, request: Mapping[str, Any]) -> int:
        with self._writing():
            cursor = self._db.execute(
                "INSERT INTO runs (started, request) VALUES (?, ?)", (time.time(), _dump(request))
            )
            return int(cursor.lastrowid or 0)

    def finish_run(self, run: int) -> None:
        with self._writing():
            self._db.execute("UPDATE runs SET finished = ? WHERE id = ?", (time.time(), run))

    def runs(self) -> list[RunRecord]:
        """In the order they began."""
        with self._guarded():
            found = self._db.execute("SELECT id, started, finished, request FROM runs ORDER BY id").fetchall()
        return [RunRecord(number, began, ended, json.loads(asked)) for number, began, ended, asked in found]

    def recall(self, key: str) -> Any | None:
        """A fact worked out earlier under this key, or None."""
        with self._guarded():
            row = self._db.execute("SELECT value FROM memos WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def remember(self, key: str, value: Any) -> None:
        with self._writing():
            self._db.execute("INSERT OR REPLACE INTO memos VALUES (?, ?)", (key, _dump(value)))

    # --- inside --------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._guarded():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"the results file {self.path} cannot be used ({error}); "
                "free the disk or fix its permissions, move the file away, or give another --output_path"
            ) from error


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _parts(keys: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    """SQLite bounds the number of marks in a statement."""
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def _marks(keys: Sequence[str]) -> str:
    return ",".join("?" * len(keys))
