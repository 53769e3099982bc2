"""The results file: nothing lost, nothing doubled, whoever writes and whenever the process dies."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paretolm.bench.records.store import Scored, Store
from paretolm.errors import StoreError
from paretolm.evaluation.rows import Row


def scored(item: str, value: float = 1.0, num_rows: int = 3) -> Scored:
    rows = [Row(item, f"part-{i}", "nll", value + i, 2.0, {"position": i}) for i in range(num_rows)]
    return Scored(item, f"doc-{item}", rows, {"kv_bytes": 10, "counters": {"h2o": {"evicted": 3}}})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    with Store(tmp_path / "results.sqlite") as opened:
        opened.plan({"a": {"recipe": "dense"}, "b": {"recipe": "h2o"}})
        yield opened


def test_items_come_back_as_they_were_written(store: Store) -> None:
    store.add([("a", scored("2")), ("a", scored("1", num_rows=0)), ("b", scored("1"))])
    assert store.items("a") == [Scored("1", "doc-1", [], scored("1").facts), scored("2")]
    assert store.item_names("b") == {"1"}


def test_an_item_written_again_is_replaced_not_doubled(store: Store) -> None:
    store.add([("a", scored("1", value=5.0, num_rows=7))])
    store.add([("a", scored("1", value=1.0))])
    assert store.items("a") == [scored("1", value=1.0)]


def test_a_transaction_that_breaks_leaves_nothing(store: Store) -> None:
    with pytest.raises(StoreError, match=r"results\.sqlite"):
        store.add([("a", scored("1")), ("no such cell", scored("1"))])
    assert store.items("a") == []


def test_states(store: Store) -> None:
    assert store.claim(["a", "b", "unknown"]) == ["a", "b"]
    store.finish("a")
    store.fail("b", "it gave NaN")
    records = store.cells(["b", "a", "unknown"])
    assert [(r.key, r.state, r.error) for r in records.values()] == [
        ("b", "failed", "it gave NaN"),
        ("a", "done", None),
    ]
    assert store.claim(["a", "b"]) == [], "neither would come out differently"


def test_a_cell_that_was_left_is_not_done_and_goes_on(store: Store) -> None:
    store.claim(["a"])
    store.add([("a", scored("1"))])
    store.leave("a")
    assert store.cells(["a"])["a"].state == "partial"
    assert store.claim(["a"]) == ["a"]
    assert store.item_names("a") == {"1"}


def test_a_broken_cell_is_tried_again_and_keeps_its_items(store: Store) -> None:
    store.claim(["a"])
    store.add([("a", scored("1"))])
    store.fail("a", "killed", again=True)
    assert store.cells(["a"])["a"].state == "broken"
    assert store.claim(["a"]) == ["a"]
    assert store.item_names("a") == {"1"}


def test_done_stays_done(store: Store) -> None:
    store.claim(["a"])
    store.finish("a")
    store.fail("a", "too late")
    assert store.cells(["a"])["a"].state == "done"


def test_planning_again_changes_no_state_and_not_what_a_finished_cell_was_measured_by(store: Store) -> None:
    store.claim(["a"])
    store.finish("a")
    store.plan({"a": {"recipe": "dense", "more": 1}, "b": {"recipe": "h2o", "more": 1}})
    found = store.cells(["a", "b"])
    assert (found["a"].state, found["a"].meta) == ("done", {"recipe": "dense"})
    assert (found["b"].state, found["b"].meta) == ("new", {"recipe": "h2o", "more": 1})


CHILD = """
import sys, time
from paretolm.bench.records.store import Scored, Store
from paretolm.evaluation.rows import Row
store = Store(sys.argv[1])
store.plan({"a": {}, "b": {}})
print(",".join(store.claim(["a", "b"])), flush=True)
for i in range(int(sys.argv[2])):
    rows = [Row(str(i), "d", "nll", float(j)) for j in range(20)]
    store.add([("a", Scored(str(i), "d", rows))])
    print(i, flush=True)
time.sleep(60)
"""


def child(path: Path, items: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(path), str(items)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


def test_what_a_killed_writer_finished_is_there_and_its_cells_are_free(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    process = child(path, 1000)
    assert process.stdout is not None
    assert process.stdout.readline() == "a,b\n"
    while int(last := process.stdout.readline()) < 25:
        pass
    with Store(path) as store:
        assert store.claim(["a", "b"]) == [], "its owner is alive"
        assert store.held_elsewhere(["a", "b"]) == ["a", "b"]
        process.send_signal(signal.SIGKILL)
        process.wait()
        written = int((last + "".join(process.stdout)).split()[-1])
        process.stdout.close()
        assert store.claim(["a", "b"]) == ["a", "b"]
        assert store.held_elsewhere(["a", "b"]) == []
        items = store.items("a")
        assert {str(i) for i in range(written + 1)} <= {one.item for one in items}
        assert all(len(one.rows) == 20 for one in items)


def test_two_writers_wait_for_one_another(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    code = CHILD.replace("time.sleep(60)", "")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code.replace('"a", Scored', f'"{c}", Scored'), str(path), "40"],
            stdout=subprocess.DEVNULL,
            env=env,
        )
        for c in "ab"
    ]
    assert [w.wait(60) for w in writers] == [0, 0]
    with Store(path) as store:
        assert [len(store.items(c)) for c in "ab"] == [40, 40]


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    Store(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match=r"newer paretolm.*format 99.*--output_path"):
        Store(path)


@pytest.mark.parametrize(
    "damage", [b"not a database at all, but long enough to be one" * 100, b"SQLite format 3\0junk"]
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "results.sqlite"
    path.write_bytes(damage)
    with pytest.raises(StoreError, match=r"results\.sqlite cannot be used .*move the file away"):
        Store(path)


def test_a_damaged_page_is_found_on_opening(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    with Store(path) as store:
        store.plan({f"{i:064d}": {"recipe": "x" * 200} for i in range(500)})
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4096] = b"\xff" * 4096
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"cannot be used"):
        Store(path)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="another --output_path"):
        Store(tmp_path / "file" / "results.sqlite")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="another --output_path"):
        Store(tmp_path / "folder")


def test_keys_by_their_beginning_the_newest_first(store: Store) -> None:
    store.plan({"ab1": {}, "ab2": {}, "a%": {}})
    store.claim(["ab1"])
    store.claim(["ab2"])
    assert store.cell_keys("ab") == ["ab2", "ab1"]
    assert store.cell_keys("a%") == ["a%"]
    assert set(store.cell_keys()) == {"a", "b", "ab1", "ab2", "a%"}
    assert store.cell_keys("c") == []


def test_runs_are_kept_with_what_was_asked(store: Store) -> None:
    first = store.start_run({"model": "reference", "cells": ["a"]})
    second = store.start_run({"model": "other", "cells": []})
    store.finish_run(first)
    one, two = store.runs()
    assert (one.id, two.id) == (first, second)
    assert one.request == {"model": "reference", "cells": ["a"]}
    assert one.finished is not None
    assert one.finished >= one.started
    assert two.finished is None


def test_memos_and_runs(store: Store) -> None:
    assert store.recall("k") is None
    store.remember("k", {"chunk": None, "slots": ["keep"]})
    store.remember("k", {"chunk": 4})
    assert store.recall("k") == {"chunk": 4}
    run = store.start_run({"model": "reference"})
    store.finish_run(run)
    assert store.start_run({}) == run + 1


@settings(max_examples=25)
@given(st.dictionaries(st.text(min_size=1, max_size=8), st.floats(allow_nan=False), max_size=5), st.text(max_size=10))
def test_any_text_and_number_survives(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[str, float], doc: str
) -> None:
    path = tmp_path_factory.mktemp("store") / "r.sqlite"
    one = Scored("i", doc, [Row("i", metric, metric, value, 1.0, {"t": metric}) for metric, value in rows.items()])
    with Store(path) as store:
        store.plan({"c": {}})
        store.add([("c", one)])
        assert store.items("c") == [one]
