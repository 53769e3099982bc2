"""The tables of a results file, and how one is opened. Another SCHEMA is another format."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from ...errors import StoreError

BUSY_MS = 30_000
SCHEMA = 1
TABLES = """
CREATE TABLE runs (id INTEGER PRIMARY KEY, started REAL NOT NULL, finished REAL, request TEXT NOT NULL);
CREATE TABLE cells (
    key TEXT PRIMARY KEY, state TEXT NOT NULL, meta TEXT NOT NULL, owner TEXT,
    started REAL, finished REAL, error TEXT);
CREATE TABLE items (
    cell TEXT NOT NULL REFERENCES cells(key) ON DELETE CASCADE, item TEXT NOT NULL, doc TEXT NOT NULL,
    facts TEXT NOT NULL, PRIMARY KEY (cell, item)) WITHOUT ROWID;
CREATE TABLE rows (
    cell TEXT NOT NULL, item TEXT NOT NULL, seq INTEGER NOT NULL, doc TEXT NOT NULL, metric TEXT NOT NULL,
    value REAL NOT NULL, weight REAL NOT NULL, tags TEXT NOT NULL, PRIMARY KEY (cell, item, seq),
    FOREIGN KEY (cell, item) REFERENCES items(cell, item) ON DELETE CASCADE) WITHOUT ROWID;
CREATE TABLE memos (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


def check(db: sqlite3.Connection, path: Path) -> bool:
    """Whether the tables are there already. Raises StoreError for a file of a newer version or another program, of
    which nothing is changed."""
    version = _version(db)
    if version > SCHEMA:
        raise StoreError(
            f"{path} was written by a newer paretolm (format {version}, this one reads {SCHEMA}); "
            "upgrade paretolm, or give another --output_path"
        )
    if version == 0 and db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        version = _version(db)  # another process may have made our tables just now, version and all
        if version == 0:
            raise StoreError(f"{path} is a database of another program; give another --output_path")
    return bool(version == SCHEMA)


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def make(db: sqlite3.Connection, path: Path) -> None:
    """Makes the tables of a new file, inside the caller's transaction. Raises StoreError as `check` does."""
    if not check(db, path):
        for statement in TABLES.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {SCHEMA}")


def enter_wal(db: sqlite3.Connection) -> None:
    """SQLite does not wait by itself where two processes switch a new file at once."""
    deadline = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
