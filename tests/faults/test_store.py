"""The results file through every way of dying, filling up and being meddled with. More in tests/bench/test_store.py."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from paretolm.bench.records import owners
from paretolm.bench.records.store import Scored, Store
from paretolm.errors import StoreError
from paretolm.evaluation.rows import Row

WORK = """
from paretolm.bench.records.store import Scored, Store
from paretolm.evaluation.rows import Row

def work(path, watch=None, items=6):
    with Store(path) as store:
        if watch:
            store._db.set_trace_callback(watch)
        store.plan({"cell": {"recipe": "dense"}})
        if not store.claim(["cell"]):
            return
        for name in sorted({f"i{n}" for n in range(items)} - store.item_names("cell")):
            rows = [Row(name, "d", "nll", float(k), 1.0, {"position": k}) for k in range(5)]
            store.add([("cell", Scored(name, "d", rows, {"seconds": 1.0}))])
        store.finish("cell")
"""

KILLED = (
    WORK
    + """
import json, os, signal, sys

def killed_at(path, number):
    child = os.fork()
    if not child:
        seen = 0
        def watch(_):
            nonlocal seen
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
        work(path, watch)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def state(path):
    with Store(path) as store:
        record = store.cells(["cell"]).get("cell")
        found = {one.item: len(one.rows) for one in store.items("cell")}
    return record.state if record else None, found

number, told = 1, []
while True:
    path = f"{sys.argv[1]}/{number}.sqlite"
    code = killed_at(path, number)
    told.append([code, *state(path)])
    if code == 0:
        break
    second = killed_at(path, 9)  # a resume that is interrupted, and resumed again
    work(path)
    told[-1] += [second, *state(path)]
    number += 1
print(json.dumps(told))
"""
)


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=env, timeout=300)


def test_killed_before_every_statement_and_once_more_on_the_way_back(tmp_path: Path) -> None:
    """Data first, marker last: whole items only, 'done' only with all of them, and a resume ends with the same."""
    ran = run(KILLED, str(tmp_path))
    assert ran.returncode == 0, ran.stderr
    *killed, whole = json.loads(ran.stdout)
    everything = {f"i{n}": 5 for n in range(6)}
    assert whole == [0, "done", everything]
    assert len(killed) > 40, "statements of one cell"
    for code, state, found, _, *after in killed:
        assert code == -9
        assert set(found.values()) <= {5}, "an item has all its rows or none"
        assert state != "done" or found == everything
        assert after == ["done", everything]
    assert {len(found) for _, _, found, *_ in killed} == set(range(7)), "every moment was tried"


FULL = (
    WORK
    + """
import resource, sys
from paretolm.errors import StoreError
Store(sys.argv[1]).close()
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    work(sys.argv[1], items=2000)
except StoreError as error:
    print(error)
"""
)


def test_a_full_disk_is_a_sentence_and_what_was_written_stays(tmp_path: Path) -> None:
    """No file of the process may grow beyond 200 KB, which is how a full disk looks to sqlite."""
    path = tmp_path / "results.sqlite"
    ran = run(FULL, str(path), "200000")
    assert ran.returncode == 0, ran.stderr
    assert f"the results file {path} cannot be used (" in ran.stdout
    assert "free the disk" in ran.stdout
    with Store(path) as store:
        found = store.items("cell")
        assert 10 < len(found) < 2000
        assert {len(one.rows) for one in found} == {5}
        assert store.claim(["cell"]) == ["cell"], "with room again it goes on"
        store.add([("cell", Scored("late", "d", [Row("late", "d", "nll", 1.0)]))])
        assert len(store.items("cell")) == len(found) + 1


def test_a_file_that_is_read_only_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened as sqlite opens what may not be written, for permissions do not bind every user."""
    path = tmp_path / "results.sqlite"
    Store(path).close()
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **more: connect(f"file:{path}?mode=ro", uri=True, **more))
    with pytest.raises(StoreError, match=r"readonly database.*fix its permissions"), Store(path) as store:
        store.plan({"a": {}})


def test_another_programs_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "bookmarks.sqlite"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE places (url TEXT)")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="a database of another program"):
        Store(path)
    assert path.read_bytes() == before


def test_a_clock_that_is_set_back_changes_no_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    me = owners.identity()
    created = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: created(self) - 3600)
    assert owners.alive(me)
    assert not owners.alive(me.rpartition(":")[0] + ":1"), "a later process of the same number is another one"


def test_a_clock_that_is_set_back_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    with Store(tmp_path / "results.sqlite") as store:
        store.plan({"a": {}, "b": {}})
        first = store.start_run({"cells": ["a"]})
        store.claim(["a"])
        monkeypatch.setattr(time, "time", lambda: now - 86_400)
        store.add([("a", Scored("i", "d", [Row("i", "d", "nll", 1.0)]))])
        store.finish("a")
        second = store.start_run({"cells": ["b"]})
        assert [run.id for run in store.runs()] == [first, second], "in the order they began"
        assert store.cells(["a"])["a"].state == "done"
        assert store.claim(["a", "b"]) == ["b"]


@pytest.mark.parametrize("name", ["результаты ✓.sqlite", "a b#c?d%20.sqlite", "';DROP TABLE cells;--.sqlite"])
def test_any_name_of_the_file(tmp_path: Path, name: str) -> None:
    with Store(tmp_path / name) as store:
        store.plan({"../../etc/passwd": {"recipe": "🦊 שלום"}, "'; DROP TABLE cells; --": {}})
        assert store.cell_keys("../") == ["../../etc/passwd"]
        assert store.cells(["../../etc/passwd"])["../../etc/passwd"].meta == {"recipe": "🦊 שלום"}
    assert [f.name for f in tmp_path.iterdir() if f.suffix == ".sqlite"] == [name]


def test_many_rows_are_read_back_in_a_second(tmp_path: Path) -> None:
    """50,000; a million, in benchmarks/store_rows.py, take in proportion."""
    rows = [Row("i", "d", "nll", float(k), 1.0, {"position": k}) for k in range(500)]
    with Store(tmp_path / "results.sqlite") as store:
        store.plan({"a": {}, "b": {}})
        store.add([("ab"[n % 2], Scored(f"i{n}", "d", rows)) for n in range(100)])
    began = time.process_time()
    with Store(tmp_path / "results.sqlite") as store:
        assert sum(len(one.rows) for one in store.items("a")) == 25_000
    assert time.process_time() - began < 2
