"""Speed and memory cells: one process after the other, nothing beside them, and what becomes of their numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any

import pytest

from paretolm.bench import desk as desks
from paretolm.bench.desk import Desk, Request
from paretolm.bench.plan import Cell, make_cells
from paretolm.bench.progress import Progress
from paretolm.bench.records.store import CellRecord, Store
from paretolm.bench.results.gather import (
    Measured,
    dense_runtime,
    flags,
    held,
    ledger,
    memory_medians,
    runtime,
    speed_metric,
)
from paretolm.bench.results.types import Booked, Bytes, Runtime
from paretolm.bench.workers import process_cells
from paretolm.bench.workers.process_cells import measure_process_cell, process_facts
from paretolm.errors import CellError
from paretolm.evaluation.byte_ledger import Entry
from paretolm.evaluation.rows import Row
from tests.bench.made import conditions

RATIOS = [1.1, 1.3, 1.2, 1.4, 1.0]


def speed_cell(*args: Any, **kwargs: Any) -> SimpleNamespace:
    rows = [Row(f"repeat-{i}", f"repeat-{i}", "decode_speed_ratio", r) for i, r in enumerate(RATIOS)]
    arm = SimpleNamespace(chunk=512, counters={"h2o": {"tokens_evicted": 3}})
    return SimpleNamespace(
        rows=lambda: rows,
        mode="forced",
        arm=arm,
        ceilings=lambda: {"decode_tok_s": 9e3},
        flags=[],
        seconds=lambda baseline=False: (0.6, 0.02) if baseline else (0.5, 0.01),
    )


def memory_cell(*args: Any, **kwargs: Any) -> SimpleNamespace:
    rows = [Row("process-0", "process-0", "steady_kv_bytes", 4096.0)]
    values = {"held_kv_bytes": 4000.0, "held_index_bytes": 8.0, "held_weight_bytes": 9e6}
    run = SimpleNamespace(
        counters={"h2o": {"tokens_evicted": 3}},
        kinds={"peak": "VmHWM"},
        seen=64,
        values=values,
        predicted=(3900.0, 4100.0),
        ledger=(
            Entry("weights", 9e6, 9.1e6, 9.2e6),
            Entry("cache", 4000.0, 3900.0, 4100.0),
            Entry("unexplained", 96.0),
        ),
    )
    return SimpleNamespace(rows=lambda: rows, runs=(run,))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A desk without a worker, whose processes answer at once."""
    monkeypatch.setattr(process_cells, "measure_speed", speed_cell)
    monkeypatch.setattr(process_cells, "measure_memory", memory_cell)
    made = Desk.__new__(Desk)
    made.request, made.progress = Request(model="m", output=tmp_path), Progress()
    made.conditions = conditions()
    made.__dict__["model"] = {"trained_length": 64}
    made.crew, made.measured, made.threads, made._lock = SimpleNamespace(close=lambda: None), 0, 1, Lock()  # type: ignore[assignment]
    monkeypatch.setattr(Desk, "tokens", lambda self, count: list(range(count)))
    with Store(tmp_path / "results.sqlite") as store:
        made.store = store
        yield made


def test_speed_is_asked_with_the_conditions_of_the_call(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def noted(*args: Any, **kwargs: Any) -> SimpleNamespace:
        asked.update(kwargs, args=args)
        return speed_cell()

    monkeypatch.setattr(process_cells, "measure_speed", noted)
    items = measure_process_cell(desk, "speed", "h2o", 64)
    assert asked["args"] == ("m", "h2o", list(range(16)), list(range(16, 64)))
    assert (asked["threads"], asked["load_options"]["device"], asked["repeats"]) == (1, "cpu", 5)
    assert [i.item for i in items] == [f"repeat-{i}" for i in range(5)]
    assert items[0].facts["counters"] == {"h2o": {"tokens_evicted": 3}}
    assert items[1].facts == {}


def test_the_median_and_its_interval(desk: Desk) -> None:
    metric = speed_metric(measure_process_cell(desk, "speed", "h2o", 64))
    assert metric is not None
    e = metric.estimate
    assert (e.value, e.low, e.high, e.unit, e.num_items) == (1.2, 1.0, 1.4, "ratio", 5)
    assert e.note == "94% interval of 5 repeats"
    assert speed_metric([]) is None


def test_the_ideal_time_stands_beside_the_measured_one(desk: Desk) -> None:
    items = measure_process_cell(desk, "speed", "h2o", 64)
    assert runtime(items) == Runtime(0.5, 0.01)
    slower = [replace(i, facts={"seconds_of": {"dense": (0.8, 0.02)}}) for i in items[:1]]
    assert dense_runtime([items, slower, items]) == Runtime(0.6, 0.02)
    assert runtime([]) is dense_runtime([[]]) is None


def test_a_speed_that_cannot_be_true_is_not_given(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    why = "decoding at 1e+09 tokens/s is beyond what this machine allows"
    cell = speed_cell()
    cell.flags = [why]
    monkeypatch.setattr(process_cells, "measure_speed", lambda *_, **__: cell)
    items = measure_process_cell(desk, "speed", "h2o", 64)
    assert flags(items) == (why,)
    assert speed_metric(items) is None
    assert runtime(items) is None
    assert runtime(items, "dense") == Runtime(0.6, 0.02), "the untouched model's is still its own"


def test_memory_says_what_was_held_and_what_was_foretold(desk: Desk) -> None:
    items = measure_process_cell(desk, "memory", "h2o", 64)
    assert memory_medians(items) == {"steady_kv_bytes": 4096.0}
    cell = Measured(Cell("h2o", "memory", "k", "memory"), CellRecord("k", "done", {}), items)
    found = held({"memory": cell}, {"memory": cell})
    assert found.kv == Bytes(4000.0, 3900.0, 4100.0, 4000.0, 64)
    assert found.weights == Bytes(9e6, 9.1e6, 9.2e6, 9e6)


def test_the_ledger_keeps_what_was_foretold_and_by_how_much_it_is_off(desk: Desk) -> None:
    assert ledger(measure_process_cell(desk, "memory", "h2o", 64)) == (
        Booked("weights", 9e6, 9.1e6, 9.2e6, -1e5),
        Booked("cache", 4000.0, 3900.0, 4100.0, 0),
        Booked("unexplained", 96.0),
    )
    assert ledger([]) == ()


def test_the_model_is_out_of_memory_before_a_process_starts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    desk.crew = SimpleNamespace(close=lambda: happened.append("worker closed"))  # type: ignore[assignment]

    def measured(*args: Any, **kwargs: Any) -> SimpleNamespace:
        happened.append("measured")
        if len(happened) == 2:
            raise CellError("it was killed by SIGKILL")
        return speed_cell()

    monkeypatch.setattr(process_cells, "measure_speed", measured)
    turns: list[bool] = []
    original = desks.turn
    monkeypatch.setattr(desks, "turn", lambda alone, waiting: turns.append(alone) or original(alone, waiting))
    recipe = {
        "line": "h2o",
        "hash": "h",
        "methods": {"h2o": ["keep"]},
        "fits": [],
        "conflict": "",
        "code": {},
        "models": {},
    }
    recipes = {"h2o": recipe, "h2o(budget=50%)": {**recipe, "line": "h2o(budget=50%)", "hash": "h50"}}
    tasks = {"speed": process_facts("speed", desk.model, 1)}
    cells = list(make_cells(desk.conditions, recipes, tasks, {"limit": None, "chunk": None}, "data"))
    desk.measure(cells, {r: r for r in recipes})
    assert desk.measured == 2
    assert happened == ["worker closed", "measured", "worker closed", "measured"]
    assert turns == [True, True]
    states = [desk.store.cells([c.key])[c.key] for c in cells]
    assert [(s.state, s.error) for s in states] == [("broken", "it was killed by SIGKILL"), ("done", None)]
