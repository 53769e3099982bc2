"""A cell is measured again when something it depends on changed, and only then."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from paretolm.bench.records import keys
from paretolm.bench.records.keys import CellInputs, Conditions, cell_key, code_hashes, digest

CONDITIONS = Conditions("c0", "cpu", "float32", "sdpa", 2, 0, {"torch": "2.13"})
CELL = CellInputs("quality", "h2o(budget=25%)", "ab12", "perplexity", "1", {"length": 512}, "d0", 64, {"h2o.py": "f0"})

OTHER = {
    "content": "c1",
    "device": "cuda",
    "dtype": "bfloat16",
    "attention": "eager",
    "threads": 1,
    "seed": 1,
    "versions": {"torch": "2.14"},
    "kind": "memory",
    "recipe": "h2o(budget=50%)",
    "recipe_hash": "cd34",
    "task": "recall",
    "task_version": "2",
    "params": {"length": 513},
    "data": "d1",
    "chunk": None,
    "code": {"h2o.py": "f1"},
    "fitted_on": "t0",
}


@pytest.mark.parametrize("name", [f.name for f in fields(Conditions)])
def test_every_condition_counts(name: str) -> None:
    assert cell_key(replace(CONDITIONS, **{name: OTHER[name]}), CELL) != cell_key(CONDITIONS, CELL)


@pytest.mark.parametrize("name", [f.name for f in fields(CellInputs)])
def test_every_input_counts(name: str) -> None:
    assert cell_key(CONDITIONS, replace(CELL, **{name: OTHER[name]})) != cell_key(CONDITIONS, CELL)


def test_equal_inputs_have_equal_keys() -> None:
    assert cell_key(replace(CONDITIONS), replace(CELL, params=dict(CELL.params))) == cell_key(CONDITIONS, CELL)


def test_the_machine_counts_where_it_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {kind: cell_key(CONDITIONS, replace(CELL, kind=kind)) for kind in ("quality", "speed", "memory")}
    other = replace(keys.machine(), cpu="another processor")
    monkeypatch.setattr(keys, "machine", lambda: other)
    after = {kind: cell_key(CONDITIONS, replace(CELL, kind=kind)) for kind in before}
    assert [kind for kind in before if before[kind] != after[kind]] == ["speed", "memory"]


def test_shared_code_counts_and_methods_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "contracts/a.py",
        "methods/keep/h2o.py",
        "evaluation/tasks/context/recall.py",
        "cli/compare.py",
        "evaluation/speed.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")
    monkeypatch.setattr(keys, "PACKAGE", tmp_path)

    def hashed() -> str:
        keys.shared_code.cache_clear()
        keys.file_hash.cache_clear()
        return keys.shared_code("quality")

    first = hashed()
    for name in ("methods/keep/h2o.py", "evaluation/tasks/context/recall.py", "cli/compare.py", "evaluation/speed.py"):
        (tmp_path / name).write_text("two")
        assert hashed() == first, name
    (tmp_path / "contracts/a.py").write_text("two")
    assert hashed() != first
    keys.shared_code.cache_clear()
    keys.file_hash.cache_clear()


def test_file_hashes(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("x")
    found = code_hashes([tmp_path / "m.py", tmp_path / "gone.py"])
    assert found[str(tmp_path / "gone.py")] == ""
    assert len(found[str(tmp_path / "m.py")]) == 64


def test_a_digest_does_not_depend_on_order() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_what_is_named_as_shared_is_there() -> None:
    named = {name for names in keys.SHARED.values() for name in names}
    assert not [name for name in named if not (keys.PACKAGE / name).exists()]
    judged = {f.name for f in (keys.PACKAGE / "evaluation").glob("*.py")} - {"__init__.py"}
    shared = {name.removeprefix("evaluation/") for name in named}
    assert judged - shared == {"statistics.py", "summary.py", "spread.py"}, "what becomes of numbers, not what they are"
