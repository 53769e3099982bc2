"""The store of another machine: as the file itself, for everything a worker does with it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paretolm.bench.records.relay import RelayedStore, Serving
from paretolm.bench.records.store import Scored, Store
from paretolm.errors import StoreError
from paretolm.evaluation.rows import Row

MACHINE = {"cpu": "a processor", "hash": "123"}


class Near:
    """A wire to a Serving in this process."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving

    def send(self, event: Any) -> Any:
        answer = json.loads(json.dumps(self.serving(json.loads(json.dumps(event)))))
        return answer if event["wants"] else None


def relayed(folder: Path, part: str) -> tuple[RelayedStore, Serving]:
    serving = Serving(folder, part, MACHINE)
    return RelayedStore(Path("elsewhere/results.sqlite"), Near(serving)), serving


names = st.sampled_from("abc")
values = st.floats(allow_nan=False, allow_infinity=False)
rows = st.builds(
    Row, names, names, st.sampled_from(["nll", "acc"]), values, values, st.dictionaries(names, st.integers())
)
items = st.builds(Scored, names, names, st.lists(rows, max_size=3), st.dictionaries(names, st.text(max_size=3)))
calls = st.one_of(
    st.tuples(st.just("plan"), st.dictionaries(names, st.fixed_dictionaries({"kind": names}))),
    st.tuples(st.sampled_from(["cells", "claim", "held_elsewhere"]), st.lists(names, max_size=3)),
    st.tuples(st.sampled_from(["finish", "leave", "item_names", "items", "recall"]), names),
    st.tuples(st.just("fail"), names, st.text(max_size=5)),
    st.tuples(st.just("add"), st.lists(st.tuples(st.just("a"), items), max_size=2)),
    st.tuples(st.just("remember"), names, st.lists(st.integers())),
)


def plain(found: Any) -> Any:
    """Without times, and without what only a worker elsewhere leaves."""
    if isinstance(found, dict):
        return {
            key: (r.state, {k: v for k, v in r.meta.items() if k != "machine"}, r.error) for key, r in found.items()
        }
    if isinstance(found, list) and found and isinstance(found[0], Scored):
        return [(s.item, s.doc, s.rows, {k: v for k, v in s.facts.items() if k != "machine"}) for s in found]
    return found


@settings(max_examples=30)
@given(st.lists(calls, max_size=12))
def test_every_call_is_answered_as_by_the_file(asked: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as place, Store(f"{place}/own.sqlite") as own:
        far, serving = relayed(Path(place), "far")
        for store in (own, far):
            store.plan({"a": {"kind": "first"}})
        for call, *args in asked:
            assert plain(getattr(far, call)(*args)) == plain(getattr(own, call)(*args))
        serving.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Store(tmp_path / "results.sqlite") as store:
        store.plan({"a": {"machine": {"cpu": "of the call"}}, "b": {"machine": {}}, "old": {}})
    return tmp_path


def test_workers_of_one_call_take_nothing_from_each_other(folder: Path) -> None:
    first, serving = relayed(folder, "1")
    second, _ = relayed(folder, "2")
    assert first.claim(["a", "old"]) == ["a", "old"]
    assert second.claim(["a", "b"]) == ["b"]
    assert second.held_elsewhere(["a", "b"]) == ["a"]
    first.add([("a", Scored("1", "d", []))])
    serving.close()
    assert second.claim(["a"]) == ["a"], "what a lost worker had taken is free"
    assert second.item_names("a") == {"1"}, "and keeps what it had scored"


def test_where_it_was_measured_is_kept_with_cell_and_item(folder: Path) -> None:
    far, serving = relayed(folder, "1")
    far.claim(["a", "old"])
    far.add([("a", Scored("1", "d", [Row("1", "d", "nll", 0.1)], {"chunk": 2}))])
    serving.close()
    with Store(folder / "results.sqlite") as store:
        assert store.cells(["a"])["a"].meta == {"machine": MACHINE}
        assert store.cells(["old"])["old"].meta == {}
        assert store.items("a")[0].facts == {"chunk": 2, "machine": "123"}


def test_a_finished_worker_leaves_what_is_finished(folder: Path) -> None:
    far, serving = relayed(folder, "1")
    far.claim(["a", "b"])
    far.finish("a")
    far.fail("b", "it gave NaN")
    serving.close()
    with Store(folder / "results.sqlite") as store:
        assert [r.state for r in store.cells(["a", "b"]).values()] == ["done", "failed"]


@pytest.mark.parametrize("name", ["../results.sqlite", "/results.sqlite", "claims/../../x"])
def test_files_outside_the_folder_are_nobody_s(folder: Path, name: str) -> None:
    serving = Serving(folder / "results", "1", MACHINE)
    with pytest.raises(StoreError, match="which is not in"):
        serving({"event": "file", "name": name, "text": "", "wants": False})
    assert sorted(p.name for p in folder.iterdir()) == ["results.sqlite"]


def test_a_file_arrives_whole(folder: Path) -> None:
    Serving(folder, "1", MACHINE)({"event": "file", "name": "claims/x.jsonl", "text": "{}\n", "wants": False})
    assert (folder / "claims" / "x.jsonl").read_text() == "{}\n"
