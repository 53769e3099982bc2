"""A cell is measured again when something it depends on changed, and only then."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from paretolm.bench.records import keys
from paretolm.bench.records.keys import CellInputs, Conditions, cell_key, code_hashes, device_kind, digest
from paretolm.evaluation.machine import machine
from tests.bench.made import conditions

CONDITIONS = conditions()
CELL = CellInputs(
    kind="quality",
    recipe="h2o(budget=25%)",
    recipe_hash="ab12",
    task="perplexity",
    task_version="1",
    params={"length": 512},
    data="d0",
    chunk=64,
    limit=None,
    code={"/one/h2o.py": "f0"},
)

OTHER = {
    "content": "c1",
    "model": "m1",
    "tokenizer": "t1",
    "template": "x1",
    "accelerator": "NVIDIA H200",
    "device": "cuda",
    "dtype": "bfloat16",
    "attention": "eager",
    "threads": 2,
    "seed": 1,
    "versions": {"torch": "2.14"},
    "kind": "memory",
    "recipe_hash": "cd34",
    "task": "recall",
    "task_version": "2",
    "params": {"length": 513},
    "data": "d1",
    "chunk": None,
    "limit": 8,
    "code": {"/one/h2o.py": "f1"},
    "fitted_on": "t0",
    "models": {"draft": "d1"},
}


@pytest.mark.parametrize("name", [f.name for f in fields(Conditions)])
def test_every_condition_counts(name: str) -> None:
    assert cell_key(replace(CONDITIONS, **{name: OTHER[name]}), CELL) != cell_key(CONDITIONS, CELL)


@pytest.mark.parametrize("name", [f.name for f in fields(CellInputs) if f.name != "recipe"])
def test_every_input_counts(name: str) -> None:
    assert cell_key(CONDITIONS, replace(CELL, **{name: OTHER[name]})) != cell_key(CONDITIONS, CELL)


def test_equal_inputs_have_equal_keys() -> None:
    assert cell_key(replace(CONDITIONS), replace(CELL, params=dict(CELL.params))) == cell_key(CONDITIONS, CELL)


def test_the_key_holds_what_it_is_said_to_hold() -> None:
    """Model, tokenizer, template, recipe, task version, data, dtype, attention, device, code, libraries, seed, chunk,
    limit."""
    held = {f.name for f in (*fields(Conditions), *fields(CellInputs))}
    asked = {"model", "tokenizer", "template", "recipe_hash", "task_version", "data", "dtype", "attention", "device"}
    assert asked | {"accelerator", "code", "versions", "seed", "chunk", "limit"} <= held
    assert {"torch", "transformers", "tokenizers", "numpy"} == set(keys.library_versions())


def test_spelling_and_places_do_not_count() -> None:
    moved = replace(CELL, recipe="h2o( budget = 25% )", code={"/two/h2o.py": "f0"})
    assert cell_key(CONDITIONS, moved) == cell_key(CONDITIONS, CELL)


def test_shared_code_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cell_key(CONDITIONS, CELL)
    monkeypatch.setattr(keys, "shared_code", lambda kind="quality": "another version")
    assert cell_key(CONDITIONS, CELL) != before


@pytest.mark.parametrize(
    ("device", "gpus", "kind"),
    [
        ("cpu", ("NVIDIA H200",), ("cpu", "")),
        ("cuda", ("NVIDIA H200",), ("cuda", "NVIDIA H200")),
        ("cuda:1", ("NVIDIA H200", "NVIDIA H200"), ("cuda", "NVIDIA H200")),
        ("cuda:1", ("NVIDIA T4", "NVIDIA H200"), ("cuda", "NVIDIA H200, NVIDIA T4: cuda:1")),
        ("mps", (), ("mps", "Apple M2")),
    ],
)
def test_a_device_is_its_kind_and_its_name(
    device: str, gpus: tuple[str, ...], kind: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "machine", lambda: replace(machine(), gpus=gpus, cpu="Apple M2"))
    assert device_kind(device) == kind


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
    after = {"statistics.py", "summary.py", "spread.py", "sequential.py", "traits.py"}
    assert judged - shared == after | {"idealized_runtime.py"}, "what becomes of numbers, or a study's"
