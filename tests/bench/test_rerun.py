"""A stored cell measured again from its record alone: equal to the last bit, or what differs, or what is gone."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from paretolm import cli
from paretolm.bench import desk
from paretolm.bench import rerun as reruns
from paretolm.bench.cluster import staff
from paretolm.bench.compare import compare
from paretolm.bench.records import record
from paretolm.bench.records.store import Scored, Store
from paretolm.bench.rerun import Repeated, find, rerun, results_file
from paretolm.errors import CallError
from paretolm.evaluation.rows import Row
from tests.bench.made import InlineCrew

RECIPE = "window(window=16)"
TASKS = ("perplexity(length=48, streams=2, audit=0)", "arc-easy(path=questions.jsonl)")
QUESTIONS = [{"question": f"Where is {w}?", "choices": ["the river", "a garden"], "answer": 0} for w in ("A", "B", "C")]


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staff, "Crew", InlineCrew)


def measured_in(place: Path, model: Path, text: Path, **more: Any) -> Path:
    """Everything by relative paths, from inside `place`."""
    shutil.copytree(model, place / "model")
    shutil.copy(text, place / "text.jsonl")
    (place / "questions.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(staff, "Crew", InlineCrew)
        asked = {"recipes": [RECIPE], "tasks": TASKS, "text": "text.jsonl", "output": "out", "threads": 1} | more
        compare("model", **asked)
    return place


@pytest.fixture(scope="module")
def original(model: Path, text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return measured_in(tmp_path_factory.mktemp("original"), model, text)


@pytest.fixture
def place(original: Path, tmp_path: Path) -> Path:
    """A copy that may be changed; its records still say where they began, so that has to be told anew."""
    made = Path(shutil.copytree(original, tmp_path / "place"))
    with _file(made) as db:
        for key, meta in db.execute("SELECT key, meta FROM cells").fetchall():
            facts = {**json.loads(meta), "directory": str(made)}
            db.execute("UPDATE cells SET meta = ? WHERE key = ?", (json.dumps(facts), key))
    return made


def _file(place: Path) -> sqlite3.Connection:
    return sqlite3.connect(place / "out" / "results.sqlite")


@pytest.fixture
def store(place: Path) -> Iterator[Store]:
    with Store(place / "out" / "results.sqlite") as opened:
        yield opened


def key_of(store: Store, recipe: str = RECIPE, task: str = "perplexity") -> str:
    cells = store.cells(store.cell_keys()).values()
    (key,) = [c.key for c in cells if c.meta["recipe"].startswith(recipe) and c.meta["task"].startswith(task)]
    return key


def test_all_cells_of_a_run_are_equal_to_the_last_bit_and_nothing_is_written(store: Store) -> None:
    before = {key: (store.cells([key])[key], store.items(key)) for key in store.cell_keys()}
    found = rerun(store, find(store, "1"))
    assert [one.state for one in found] == ["equal"] * 4
    assert [one.key for one in found] == list(store.runs()[0].request["cells"])
    assert all(one.num_rows > 0 and one.largest == 0.0 and one.why == () for one in found)
    assert {one.new for one in found} == {()}
    assert {key: (store.cells([key])[key], store.items(key)) for key in store.cell_keys()} == before


def test_one_bit_of_one_row_is_seen(place: Path, store: Store) -> None:
    key = key_of(store)
    with _file(place) as db:
        item, seq, value = db.execute("SELECT item, seq, value FROM rows WHERE cell = ? AND metric = 'nll'", (key,)).fetchone()  # fmt: skip
        db.execute(
            "UPDATE rows SET value = ? WHERE cell = ? AND item = ? AND seq = ?",
            (math.nextafter(value, 9e9), key, item, seq),
        )
    (found,) = rerun(store, [key])
    assert (found.state, found.num_different, found.where) == ("differs", 1, f"nll of {item}")
    assert found.largest == math.nextafter(value, 9e9) - value


def test_a_row_that_is_missing_is_seen(place: Path, store: Store) -> None:
    key = key_of(store)
    with _file(place) as db:
        db.execute("DELETE FROM rows WHERE cell = ? AND metric = 'bits_per_byte'", (key,))
    (found,) = rerun(store, [key])
    assert found.state == "differs"
    assert "rows are in one of the two only, as ('stream-" in found.why[0]


def edit_json(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    facts = json.loads(file.read_text())
    change(facts)
    file.write_text(json.dumps(facts))


def flip_weight(place: Path) -> None:
    data = bytearray((place / "model" / "model.safetensors").read_bytes())
    data[-3] ^= 1
    (place / "model" / "model.safetensors").write_bytes(data)


CHANGES: list[tuple[Callable[[Path], Any], str, str]] = [
    (flip_weight, "perplexity", "the weights or the configuration of the model: was "),
    (
        lambda p: edit_json(p / "model" / "tokenizer.json", lambda facts: facts["model"]["merges"].pop()),
        "perplexity",
        "the tokenizer: was ",
    ),
    (
        lambda p: (p / "model" / "chat_template.jinja").write_text("x"),
        "perplexity",
        "the chat template: was none, is ",
    ),
    (
        lambda p: (p / "text.jsonl").write_text((p / "text.jsonl").read_text().replace("river", "rivers")),
        "perplexity",
        "the text: was ",
    ),
    (
        lambda p: (p / "questions.jsonl").write_text((p / "questions.jsonl").read_text().replace("garden", "park")),
        "arc-easy",
        "the data file questions.jsonl: was ",
    ),
    (lambda p: shutil.rmtree(p / "model"), "perplexity", "model"),
    (lambda p: (p / "text.jsonl").unlink(), "perplexity", "there is no text at text.jsonl"),
    (lambda p: (p / "questions.jsonl").unlink(), "arc-easy", "there is no file questions.jsonl"),
]


@pytest.mark.parametrize(("change", "task", "said"), CHANGES)
def test_what_is_no_longer_what_it_was_is_named_and_not_measured(
    place: Path, store: Store, change: Callable[[Path], Any], task: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(place)
    monkeypatch.setattr(InlineCrew, "measure", lambda *_, **__: pytest.fail("it was measured"))
    (found,) = rerun(store, [key_of(store, task=task)])
    assert found.state == "gone"
    assert len(found.why) == 1
    assert said in found.why[0]


def test_other_code_and_libraries_are_named_and_the_rows_compared_all_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "library_versions", lambda: {"torch": "9.9"})
    monkeypatch.setattr(record, "shared_code", lambda kind: "f" * 64)
    (found,) = rerun(store, [key_of(store)])
    assert found.state == "equal"
    assert any(n.startswith("torch: was 2.") and n.endswith("is 9.9") for n in found.new)
    assert any(n.startswith("the code that measures: was ") for n in found.new)


def test_a_cell_that_was_not_finished_has_nothing_to_compare_with(place: Path, store: Store) -> None:
    key = key_of(store)
    with _file(place) as db:
        db.execute("UPDATE cells SET state = 'failed' WHERE key = ?", (key,))
    (found,) = rerun(store, [key])
    assert (found.state, found.why) == ("failed", ("there is nothing to compare with: the cell is failed",))


def test_a_record_of_an_older_version_says_so(place: Path, store: Store) -> None:
    key = key_of(store)
    with _file(place) as db:
        db.execute("UPDATE cells SET meta = ? WHERE key = ?", ('{"recipe": "dense", "task": "perplexity"}', key))
    (found,) = rerun(store, [key])
    assert found.state == "failed"
    assert "an older paretolm kept too little" in found.why[0]


# --- timings ---


def speeds(monkeypatch: pytest.MonkeyPatch, ratios: list[float]) -> None:
    """The repeats that a speed cell will have."""
    rows = [Row(f"repeat-{i}", f"repeat-{i}", "decode_speed_ratio", r) for i, r in enumerate(ratios)]
    items = [Scored(row.item, row.doc, [row]) for row in rows]
    monkeypatch.setattr(desk, "measure_process_cell", lambda *_: items)


def test_of_speed_the_intervals_are_compared(
    model: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reruns, "_compared", lambda *_: pytest.fail("timings were compared bit by bit"))
    speeds(monkeypatch, [1.1, 1.3, 1.2, 1.4, 1.0])
    place = measured_in(tmp_path / "place", model, text, tasks=["speed"])
    with Store(place / "out" / "results.sqlite") as store:
        key = key_of(store, task="speed")
        speeds(monkeypatch, [1.5, 1.3, 1.6, 1.4, 1.7])
        (near,) = rerun(store, [key])
        speeds(monkeypatch, [2.1, 2.3, 2.2, 2.4, 2.0])
        (far,) = rerun(store, [key])
    assert (near.state, far.state) == ("equal", "differs")
    assert near.why == ("timings are never bit-exact: the ratio was 1.2 [1, 1.4], is 1.5 [1.3, 1.7]",)
    assert (near.num_rows, near.where) == (5, "decode_speed_ratio")


def test_of_memory_only_what_is_held_is_compared() -> None:
    def items(held: float, steady: float) -> list[Any]:
        rows = [Row("p", "p", "held_kv_bytes", held), Row("p", "p", "steady_kv_bytes", steady)]
        return [Scored("p", "p", rows)]

    cell = Repeated("k", "memory", "dense", "memory", "failed")
    found = reruns._compared(cell, items(4096, 5000), items(4096, 6000))
    assert (found.state, found.num_rows) == ("equal", 1)
    assert "steady and peak bytes are not the same twice" in found.why[0]
    assert reruns._compared(cell, items(4096, 5000), items(4100, 5000)).state == "differs"


# --- names ---


def test_a_cell_is_found_by_the_beginning_of_its_key_and_a_run_by_its_number(store: Store) -> None:
    keys = store.cell_keys()
    assert find(store, keys[0]) == [keys[0]]
    assert find(store, keys[0][:20]) == [keys[0]]
    assert sorted(find(store, "1")) == sorted(keys)


def test_an_unknown_name_brings_the_nearest(store: Store) -> None:
    key = store.cell_keys()[0]
    with pytest.raises(CallError, match=rf"there is no cell and no run 'x{key[1:12]}' .*nearest are {key[:12]}"):
        find(store, "x" + key[1:12])
    with pytest.raises(CallError, match="no cell and no run '999'"):
        find(store, "999")
    with pytest.raises(CallError, match="no cell and no run ''"):
        find(store, "")


def test_a_beginning_of_several_cells_names_them(store: Store) -> None:
    store.plan({f"zz{i}": {"recipe": f"r{i}", "task": "t"} for i in range(6)})
    with pytest.raises(CallError, match=r"6 cells begin with 'zz' \(zz\d r\d: t, .*\.\.\.\): give more of the key"):
        find(store, "zz")
    assert find(store, "zz3") == ["zz3"]


def test_no_results_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(CallError, match=r"there is no results file .*results\.sqlite"):
        results_file(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


# --- the command ---


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["rerun", *arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_the_command(place: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    key, output = key_of(store), ("-o", str(place / "out"))
    code, out, _ = run(capsys, key[:16], *output)
    assert code == 0
    assert out.startswith(f"{key[:12]}  window(window=16): perplexity(length=48")
    assert "equal to the last bit in all of " in out
    assert [one["state"] for one in json.loads(run(capsys, key[:16], *output, "--json")[1])] == ["equal"]
    flip_weight(place)
    code, out, _ = run(capsys, key, *output)
    assert code == 1
    assert "not measured: what it was measured on is not what it was" in out
    assert "the weights or the configuration of the model: was " in out
    code, out, err = run(capsys, "nosuch", *output)
    assert (code, out) == (2, "")
    assert err.startswith("error: there is no cell and no run 'nosuch'")
    assert run(capsys, key, "-o", str(place / "elsewhere"))[0] == 2


def test_the_command_shows_a_difference(place: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    key = key_of(store)
    with _file(place) as db:
        db.execute("UPDATE rows SET value = value + 0.5 WHERE cell = ? AND metric = 'nll'", (key,))
    code, out, _ = run(capsys, key, "-o", str(place / "out"))
    assert code == 1
    assert "rows differ, by 0.5 at most (nll of stream-" in out


def test_without_a_name_runs_and_cells_are_listed(
    place: Path, store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    plain = json.loads(run(capsys, "-o", str(place / "out"), "--json")[1])
    code, out, _ = run(capsys, "-o", str(place / "out"))
    assert code == 0
    assert [r["id"] for r in plain["runs"]] == [1]
    assert set(plain["cells"]) == set(store.cell_keys())
    assert all(key[:12] in out for key in store.cell_keys())
