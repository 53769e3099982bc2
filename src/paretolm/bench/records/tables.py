"""The tables of a results file. Another SCHEMA is another format."""

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
