"""Ceilings are arithmetic on a measured roofline; the measuring itself is only checked for shape."""

import itertools
import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paretolm.evaluation import roofline as module
from paretolm.evaluation.machine import machine
from paretolm.evaluation.roofline import MIB, Roofline, Shape, decode_ceiling, load_roofline, prefill_ceiling

ROOF = Roofline(
    machine="abc",
    device="cpu",
    threads=2,
    bandwidth=((1 * MIB, 100e9), (16 * MIB, 50e9), (256 * MIB, 20e9)),
    flops={"float32": 200e9, "bfloat16": 800e9, "float16": 100e9},
)


@pytest.mark.parametrize(
    ("mib", "rate"), [(0.5, 100e9), (1, 100e9), (15, 100e9), (16, 50e9), (100, 50e9), (256, 20e9), (5000, 20e9)]
)
def test_bandwidth_is_that_of_the_next_smaller_working_set(mib, rate):
    assert ROOF.bandwidth_at(mib * MIB) == rate


def test_a_slip_at_a_small_size_does_not_lower_the_ceiling():
    slip = Roofline("abc", "cpu", 1, ((MIB, 3e9), (16 * MIB, 50e9)), {"float32": 1e9})
    assert slip.bandwidth_at(2 * MIB) == 50e9
    assert slip.memory_bandwidth == 50e9


def test_decoding_a_7b_model_in_bf16_by_hand():
    # 14 GB of weights and 1 GB of cache at 20 GB/s: 20 / 15 tokens a second; arithmetic would allow 57
    shape = Shape(weight_bytes=14e9, kv_bytes=1e9, flops_per_token=14e9, dtype="bfloat16")
    assert decode_ceiling(ROOF, shape) == pytest.approx(20 / 15)
    assert prefill_ceiling(ROOF, shape) == pytest.approx(800 / 14)


def test_drafts_raise_the_ceiling_until_arithmetic_binds():
    drafted = Shape(14e9, 1e9, 14e9, "bfloat16", tokens_per_forward=3)
    assert decode_ceiling(ROOF, drafted) == pytest.approx(3 * 20 / 15)
    many = Shape(14e9, 1e9, 14e9, "bfloat16", tokens_per_forward=1000)
    assert decode_ceiling(ROOF, many) == prefill_ceiling(ROOF, many)


def test_a_slower_half_precision_does_not_lower_the_ceiling():
    assert ROOF.flops_at("float16") == ROOF.flops_at("float64") == 200e9


def test_what_is_unknown_has_no_ceiling():
    nothing = Shape(0, 0, 0)
    assert decode_ceiling(ROOF, nothing) == prefill_ceiling(ROOF, nothing) == float("inf")


@given(st.floats(1, 1e12), st.floats(1, 1e12), st.floats(0, 1e12))
def test_more_bytes_never_raise_the_ceiling(weights, more, kv):
    light, heavy = (Shape(w, kv, 1.0) for w in (weights, weights + more))
    assert decode_ceiling(ROOF, heavy) <= decode_ceiling(ROOF, light) * (1 + 1e-12)


def test_it_survives_json():
    assert Roofline.from_json(json.loads(json.dumps(ROOF.as_json()))) == ROOF


@pytest.mark.parametrize(("cache", "memory"), [(0, 2**30), (2**25, 2**34), (480 * MIB, 24 * 2**30), (2**30, 2**28)])
def test_working_sets_grow_beyond_the_cache_within_the_memory(cache, memory):
    sizes = module.working_sets(cache, memory)
    assert sizes[0] == MIB
    assert all(a < b for a, b in itertools.pairwise(sizes))
    assert sizes[-1] <= max(memory // 16, 16 * MIB)
    assert sizes[-1] >= min(4 * cache, memory // 16)
    assert all(size % MIB == 0 for size in sizes)


def test_measuring_fills_every_field():
    found = module.measure("cpu", 1, sizes=[MIB, 2 * MIB], side=64)
    assert (found.machine, found.device, found.threads) == (machine().hash, "cpu", 1)
    assert [size for size, _ in found.bandwidth] == [MIB, 2 * MIB]
    assert min(rate for _, rate in found.bandwidth) > 0
    assert found.flops["float32"] > 0
    assert 0 <= found.spread < 1
    assert found.measured.endswith("+00:00")


def test_one_thread_may_be_the_faster_way_to_read(monkeypatch):
    """Passes of two threads see 1 byte/s, that of one thread 9."""
    before = torch.get_num_threads()
    monkeypatch.setattr(module, "_pass", lambda *_: {MIB: 9.0 if torch.get_num_threads() == 1 else 1.0, "float32": 1.0})
    torch.set_num_threads(2)
    try:
        assert module.measure("cpu", 2, sizes=[MIB]).bandwidth == ((MIB, 9.0),)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_best_run_counts_and_the_first_does_not():
    ticks = iter([0, 0.009, 0.009, 0.015, 0.015, 0.025])
    runs = []
    assert module._best(lambda: runs.append(1), clock=lambda: next(ticks)) == pytest.approx(0.006)
    assert len(runs) == 4


def test_the_spread_is_that_of_the_median_point():
    # 10%, 50% and 20% apart; a point that one pass did not meet is left out
    passes = [{MIB: 10.0, 2 * MIB: 4.0, "float32": 8.0, "float16": 1.0}, {MIB: 9.0, 2 * MIB: 8.0, "float32": 10.0}]
    assert module._spread(passes) == pytest.approx(0.2)


def test_a_second_measurement_only_raises():
    busy = Roofline("abc", "cpu", 2, ((MIB, 110e9), (16 * MIB, 5e9)), {"float32": 20e9, "float64": 1e9})
    best = ROOF.raised(busy)
    assert best.bandwidth == ((MIB, 110e9), (16 * MIB, 50e9), (256 * MIB, 20e9))
    assert best.flops == {"float32": 200e9, "bfloat16": 800e9, "float16": 100e9, "float64": 1e9}
    assert busy.raised(ROOF) == best
    assert replace(ROOF, spread=0.1).raised(replace(busy, spread=0.4)).spread == 0.1


def test_it_is_measured_once_and_kept_per_device_and_threads(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = []

    def measured(job, arguments, **options):
        asked.append((arguments, options["threads"]))
        return Roofline("m", arguments["device"], arguments["threads"], ((MIB, 1.0),), {"float32": 1.0}).as_json()

    monkeypatch.setattr(module, "run_isolated", measured)
    first = load_roofline(1)
    assert load_roofline(1) == first
    assert load_roofline(2).threads == 2
    assert [threads for _, threads in asked] == [1, 2]
    (tmp_path / "paretolm" / f"roofline-{machine().hash}.json").write_text("{broken")
    assert load_roofline(1) == first
    assert len(asked) == 3
    monkeypatch.setattr(module, "_FORM", 99)
    assert load_roofline(1) == first
    assert len(asked) == 4, "what an older form of measuring left is not used"
    monkeypatch.setattr(module, "run_isolated", lambda *_, **__: {**first.as_json(), "flops": {"float32": 7.0}})
    assert load_roofline(1, again=True).flops == load_roofline(1).flops == {"float32": 7.0}
