"""Three numbers kept apart: counted storages, steady bytes, peak."""

import json
import sys
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from paretolm.errors import TextError
from paretolm.evaluation import gauges, memory
from paretolm.evaluation.byte_ledger import Entry
from paretolm.evaluation.gauges import ALLOCATOR, LinuxGauge, PortableGauge, field_bytes, gauge_for, largest_resident
from paretolm.evaluation.isolated import run_isolated
from paretolm.evaluation.memory import MemoryCell, MemoryRun, measure_memory, run_from, weigh
from paretolm.evaluation.rows import METRICS
from paretolm.recipes.recipe import recipe
from tests.contract.tiny import text, tiny

MIB = 2**20
ENTRY = 2 * 2 * 2 * 16 * 4  # layers, sides, heads, width, fp32: bytes a token of the tiny model


class FakeGauge:
    """Says what it was told to, in order."""

    kinds: ClassVar = {"steady": "told", "peak": "told"}
    page = 4096

    def __init__(self, steady: list[int], resident: int, peak: int) -> None:
        self._steady, self._resident, self._peak, self.resets = iter(steady), resident, peak, 0

    def steady(self) -> int:
        return next(self._steady)

    def resident(self) -> int:
        return self._resident

    def reset_peak(self) -> None:
        self.resets += 1

    def peak(self) -> int:
        return self._peak


def weighed(line: str) -> dict:
    with recipe(line).apply(tiny("llama")) as session:
        gauge = FakeGauge(steady=[900, 1000, 1700], resident=1100, peak=3100)
        found = weigh(session, text(64), text(4, seed=1), 16, gauge, empty=400)
    assert gauge.resets == 1
    return found


def test_dense_holds_what_a_hand_calculation_says():
    found = weighed("dense")
    assert found["seen"] == 68
    assert found["held"] == [68, 68]
    assert found["values"]["held_kv_bytes"] == 68 * ENTRY == found["predicted"][0] == found["predicted"][1]
    assert found["values"]["held_index_bytes"] == 0


def test_steady_and_peak_count_from_the_empty_cache():
    values = weighed("dense")["values"]
    assert set(values) == {name for name in METRICS if name.endswith("_bytes") and name != "acc_bytes"}
    assert values["steady_kv_bytes"] == 700
    assert values["steady_total_bytes"] == 1300
    assert values["peak_kv_bytes"] == 2000
    assert values["peak_total_bytes"] == 2600


def test_an_evicting_recipe_holds_less_and_its_weights_are_the_same():
    dense, small = weighed("dense"), weighed("streaming-llm(sinks=2, window=15)")
    assert small["held"] == [16, 16]
    assert 16 * ENTRY <= small["values"]["held_kv_bytes"] < 17 * ENTRY + 16 * 4 * 2
    assert small["values"]["held_weight_bytes"] == dense["values"]["held_weight_bytes"]
    assert any(small["counters"]["streaming-llm"].values())


def test_the_job_loads_fills_and_weighs(tmp_path):
    tiny("llama").model.save_pretrained(tmp_path)
    line = "streaming-llm(sinks=2, window=15)"
    told = memory.memory_job(
        line, model=str(tmp_path), load_options={"dtype": "bfloat16"}, length=64, ids=None, decode=4, chunk=16, seed=0
    )
    found = run_from(json.loads(json.dumps(told))["run"])
    assert told["recipe"] == line
    assert (found.seen, found.held) == (68, (16, 16))
    assert found.values["held_kv_bytes"] < 17 * ENTRY / 2 + 16 * 4 * 2
    assert found.values["peak_kv_bytes"] >= 0
    ledger = {entry.name: entry for entry in found.ledger}
    assert ledger["weights"].difference == ledger["cache"].difference == ledger["index"].difference == 0
    buffers = 2 * 8 * 4  # rotary frequencies stay in fp32
    assert ledger["weights"].low == (tiny("llama").view.weight_bytes - buffers) / 2 + buffers
    assert sum(entry.measured for entry in found.ledger) == found.values["steady_total_bytes"]
    given = memory.memory_job(
        "dense", model=str(tmp_path), load_options={}, length=8, ids=list(range(3, 12)), decode=1, chunk=16, seed=0
    )
    assert given["run"]["seen"] == 9


def test_weights_are_changed_for_good_and_the_rest_is_applied(monkeypatch):
    """Nothing displaced may be parked in a process that is weighed."""
    asked = []

    def load_converted(model, whole, **options):
        asked.append((model, str(whole), options))
        lm = tiny("llama")
        lm.recipe_left = "streaming-llm(sinks=2, window=15)"
        return lm

    monkeypatch.setattr("paretolm.recipes.convert.load_converted", load_converted)
    gauge = FakeGauge(steady=[400], resident=1100, peak=3100)
    line = "streaming-llm(sinks=1, window=9)"
    with memory.open_session(recipe(line), "some", {"dtype": "bf16"}, gauge) as (session, empty, peak):
        assert str(session.recipe) == "streaming-llm(sinks=2, window=15)"
    assert asked == [("some", line, {"dtype": "bf16"})]
    assert (empty, peak) == (400, 2000)


def run(steady: float, held: float = 100.0) -> MemoryRun:
    values = {"held_kv_bytes": held, "steady_kv_bytes": steady, "held_index_bytes": 0.0}
    ledger = (Entry("cache", held, 90.0, 110.0), Entry("unexplained", steady - held))
    return MemoryRun(values, 8, (4, 4), (90.0, 110.0), {}, {"steady": "anonymous"}, ledger)


def test_the_median_process_counts():
    cell = MemoryCell("some", tuple(run(s) for s in (30, 10, 20, 90, 15)))
    dense = MemoryCell("dense", (run(80, 400),))
    assert cell.medians()["steady_kv_bytes"] == 20
    assert cell.shares(dense) == {"held_kv_bytes": 0.25, "steady_kv_bytes": 0.25}
    rows = cell.rows()
    assert len(rows) == 15
    assert {row.metric for row in rows} <= set(METRICS)
    assert len({row.key for row in rows}) == 15


def test_a_run_survives_json():
    cell = MemoryCell("some", (run(30),))
    (told,) = json.loads(json.dumps(cell.as_json()))["runs"]
    assert run_from(told) == cell.runs[0]


def test_too_few_ids_are_refused_before_any_process():
    with pytest.raises(TextError, match="at 10 tokens needs 14 token ids, not 12"):
        measure_memory("reference", "dense", 10, ids=range(12))


def test_each_run_is_a_process_with_the_allocator_set(monkeypatch):
    asked = []

    def isolated(job, arguments, **options):
        asked.append((job, arguments, options["env"]))
        told = MemoryCell("dense", (run(30),)).as_json()
        return {"recipe": "dense", "run": told["runs"][0]}

    monkeypatch.setattr(memory, "run_isolated", isolated)
    cell = measure_memory("reference", "dense", 16, runs=3, load_options={"dtype": "bfloat16"})
    assert len(cell.runs) == 3
    assert {job for job, _, _ in asked} == {"paretolm.evaluation.memory:memory_job"}
    assert all(env == ALLOCATOR and a["load_options"] == {"dtype": "bfloat16"} for _, a, env in asked)


# --- gauges ---


def test_what_is_freed_goes_back_to_the_system():
    found = run_isolated("tests.evaluation.jobs:hold_and_free", {"mib": 48}, env=ALLOCATOR)
    assert found["held"] == pytest.approx(48 * MIB, rel=0.1)
    assert abs(found["freed"]) < 4 * MIB
    assert found["peak"] >= 48 * MIB * 0.9


def test_the_portable_gauge_sees_resident_bytes():
    gauge = PortableGauge()
    assert gauge.steady() > MIB
    assert 0 < gauge.resident() <= gauge.peak() + 64 * MIB
    gauge.reset_peak()
    assert largest_resident() > MIB


def test_the_gauge_follows_the_device_and_the_system(monkeypatch):
    expected = LinuxGauge if sys.platform == "linux" else PortableGauge
    assert isinstance(gauge_for("cpu"), expected)
    monkeypatch.setattr(gauges.Path, "exists", lambda _: False)
    assert isinstance(gauge_for("cpu"), PortableGauge)


def test_a_cuda_gauge_reads_torch_s_allocator(monkeypatch):
    calls = []
    cuda = SimpleNamespace(
        synchronize=lambda d: calls.append("synchronize"),
        empty_cache=lambda: calls.append("empty_cache"),
        memory_allocated=lambda d: 5,
        reset_peak_memory_stats=lambda d: calls.append("reset"),
        max_memory_allocated=lambda d: 9,
    )
    monkeypatch.setattr(torch, "cuda", cuda)
    gauge = gauge_for("cuda:0")
    gauge.reset_peak()
    assert (gauge.steady(), gauge.resident(), gauge.peak(), gauge.page) == (5, 5, 9, 512)
    assert calls == ["reset", "synchronize", "empty_cache"]


def test_a_sandbox_without_reset_says_so(monkeypatch):
    def refuse(*_):
        raise PermissionError

    gauge = LinuxGauge()
    monkeypatch.setattr(gauges.Path, "write_text", refuse)
    gauge.reset_peak()
    assert gauge.kinds["peak"] == "VmHWM since start"


def test_proc_files_are_read_by_field(tmp_path):
    path = tmp_path / "status"
    path.write_text("VmHWMx:\t 1 kB\nVmHWM:\t  12 kB\n")
    assert field_bytes(str(path), "VmHWM") == 12288
    with pytest.raises(LookupError, match="no line VmRSS"):
        field_bytes(str(path), "VmRSS")
