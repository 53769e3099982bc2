"""The byte ledger: known sizes are found, the entries add up, what nobody explains has a name."""

import json
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paretolm.bridge.bytes import page_rounding
from paretolm.contracts import Artifact, Interval
from paretolm.evaluation.byte_ledger import HELP, Entry, Mark, from_json, make_ledger, take_mark
from paretolm.evaluation.gauges import ALLOCATOR
from paretolm.evaluation.isolated import run_isolated
from paretolm.evaluation.memory import fill, run_from
from paretolm.recipes.recipe import Recipe, recipe
from paretolm.recipes.session import Session
from tests.contract.tiny import text, tiny
from tests.saboteurs.heavy import Doubling, Indexed

MIB = 2**20
GAUGE = SimpleNamespace(steady=lambda: 10**9, page=4096)


def by_name(ledger) -> dict[str, Entry]:
    return {entry.name: entry for entry in ledger}


def test_a_process_by_hand():
    loaded = Mark(1000, {"weights": 500, "cache": 0}, slack=20)
    warm = Mark(1100, {"weights": 500, "cache": 0}, slack=20)
    filled = Mark(1460, {"weights": 500, "cache": 300}, slack=50)
    found = by_name(make_ledger(400, loaded, warm, filled, {"cache": Interval(310, 320)}))
    assert {name: e.measured for name, e in found.items()} == {
        "weights": 500,
        "cache": 300,
        "libraries": 80,  # 1000 - 400 - 520
        "workspaces": 100,
        "page slack": 50,
        "unexplained": 30,  # 360 came, 300 of them are the cache and 30 its pages
    }
    assert found["cache"].difference == -10
    assert found["weights"].difference is None
    assert set(found) <= set(HELP)


sizes = st.integers(0, 10**12)
marks = st.builds(Mark, sizes, st.fixed_dictionaries({"weights": sizes, "cache": sizes, "index": sizes}), sizes)


@given(sizes, marks, marks, marks)
def test_the_entries_add_up_to_the_steady_bytes(empty, loaded, warm, filled):
    ledger = make_ledger(empty, loaded, warm, filled, {})
    assert sum(entry.measured for entry in ledger) == filled.steady - empty
    assert from_json(json.loads(json.dumps([vars(entry) for entry in ledger]))) == ledger


@pytest.mark.parametrize(("measured", "difference"), [(5, -5), (10, 0), (15, 0), (20, 0), (26, 6)])
def test_the_difference_counts_from_the_nearest_end(measured, difference):
    assert Entry("index", measured, 10, 20).difference == difference


def test_an_unknown_size_is_no_prediction():
    assert Entry("cache", 5).foretold(Interval(0, float("inf"))) == Entry("cache", 5)
    assert Entry("cache", 5).foretold(Interval(0, 9)) == Entry("cache", 5, 0, 9)


def test_doubled_weights_and_an_index_are_found():
    def held(asked: Recipe) -> Mark:
        lm = tiny("llama")
        with asked.apply(lm) as session:
            return take_mark(session, fill(session, text(32), text(2), 32), GAUGE)

    dense, heavy = held(Recipe()), held(Recipe((Doubling(), Indexed(mib=2))))
    # 2 layers: q and o 64x64, k and v 64x32, gate, up and down 64x96, fp32
    matrices = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96) * 4
    assert heavy.held["weights"] - dense.held["weights"] == matrices
    assert heavy.held["parked"] == matrices, "a session that can be undone keeps the originals"
    assert dense.held["parked"] == dense.held["index"] == 0
    assert heavy.held["index"] == 2 * MIB
    assert heavy.held["cache"] == dense.held["cache"]


def test_the_datastore_of_knn_lm_is_its_index():
    lm, num = tiny("llama"), 700
    store = Artifact({"keys": torch.zeros(num, 64, dtype=torch.float16), "values": torch.zeros(num, dtype=torch.int32)})
    asked = recipe("knn-lm(k=4, max_keys=1000)")
    with Session.open(lm, asked, {"knn-lm(max_keys=1000)": store}) as session:
        mark = take_mark(session, fill(session, text(16), text(2), 16), GAUGE)
    assert mark.held["index"] == num * (64 * 2 + 4)


def test_a_fresh_process_holds_what_was_planted(tmp_path):
    """Weights doubled, a table of 3 MiB, a second model: each in its own entry, as predicted, and nothing lost."""
    for name in ("model", "draft"):
        tiny("llama").model.save_pretrained(tmp_path / name)
    weigh = partial(run_isolated, "tests.evaluation.jobs:weigh_heavy", env=ALLOCATOR, threads=1, timeout_s=120)
    run = run_from(weigh({"model": str(tmp_path / "model"), "draft": str(tmp_path / "draft")}))
    found = by_name(run.ledger)
    dense = sum(p.numel() for p in tiny("llama").model.parameters()) * 4
    matrices = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96) * 4
    buffers = 16 // 2 * 4 * 2  # rotary frequencies, and a copy of them
    entry = 2 * 2 * 2 * 16 * 4  # layers, sides, heads, width, fp32: bytes a token of either model
    assert found["weights"].measured == dense + matrices + buffers
    assert found["index"].measured == 3 * MIB
    assert found["draft"].measured == dense + buffers + found["cache"].measured
    assert found["cache"].measured == (64 + 3) * entry, "the last token is given out, and not read"
    assert {n: e.difference for n, e in found.items() if e.low is not None} == dict.fromkeys(
        ("weights", "cache", "index", "draft"), 0
    )
    assert sum(e.measured for e in run.ledger) == run.values["steady_total_bytes"]
    assert abs(found["unexplained"].measured) < MIB


def test_pages_are_rounded_once():
    whole = torch.zeros(3 * 4096, dtype=torch.uint8)
    start = whole.data_ptr()
    pages = -(-(start + whole.numel()) // 4096) - start // 4096
    assert page_rounding([whole, whole[:10], whole[5000:]], 4096) == pages * 4096 - whole.numel()
    assert page_rounding([], 4096) == 0
    assert page_rounding([torch.zeros(5, device="meta")], 4096) == 0
