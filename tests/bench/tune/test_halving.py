"""The search on planted methods: the best is found, order follows the seed, what is surely too bad is stopped early."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paretolm.bench.results.types import Estimate
from paretolm.bench.tune.candidates import space
from paretolm.bench.tune.halving import GO_ON, TRIED, axis_of
from paretolm.bench.tune.limits import Limits
from paretolm.bench.tune.outcome import Outcome
from paretolm.bench.tune.types import Check, Point, Proof
from tests.bench.tune.planted import DENSE, METHODS, Planted, ask, limits, planted_kl, search

SEES = {"keep", "store", "weights", "frequency"}


def searched(wanted: Limits, judge: Planted | None = None, seed: int = 0) -> tuple[Outcome, list[Point]]:
    made = search(judge or Planted(), wanted, seed)
    points = made.run(space(ask, wanted, DENSE, SEES, METHODS).parts)
    return Outcome(made, points), points


def test_the_planted_best_is_found() -> None:
    outcome, _ = searched(limits(kv="12%", quality=["kl<0.05"]))
    best = outcome.feasible()[0]
    # quant(8) + evict(48%) loses 0.028, quant(4) alone 0.010 and holds 12.5%: just too much; with a little eviction it fits
    assert best.line == "evict(budget=75%) + quant(bits=4)"


def test_a_limit_on_all_bytes_combines_weights_and_cache() -> None:
    outcome, _ = searched(limits(memory="15%", quality=["kl<0.05"]))
    best = outcome.feasible()[0]
    assert set(best.foreseen.methods) >= {"shrink"}
    assert best.foreseen.total[0] <= 0.15 * 5000
    assert planted_kl(best.line) == pytest.approx(0.02, abs=0.011)


def test_without_a_limit_on_bytes_the_fewest_bytes_win() -> None:
    outcome, _ = searched(limits(quality=["kl<0.03"]))
    feasible = outcome.feasible()
    assert feasible[0].foreseen.total[0] == min(p.foreseen.total[0] for p in feasible)
    assert planted_kl(feasible[0].line) <= 0.03
    assert set(feasible[0].foreseen.methods) >= {"quant", "shrink"}


@given(st.sampled_from([8, 10, 12.5, 15, 20, 25, 30, 50, 75]), st.sampled_from([0.005, 0.02, 0.05, 0.3]))
@settings(max_examples=25, deadline=None)
def test_nothing_found_breaks_a_limit(share: float, kl: float) -> None:
    wanted = limits(kv=f"{share}%", quality=[f"kl<{kl}"])
    outcome, _ = searched(wanted)
    for p in outcome.feasible():
        assert p.stage == "ranked"
        assert p.foreseen.kv[0] <= 10 * share
        assert planted_kl(p.line) <= kl
    if not outcome.feasible():
        assert outcome.binds(())
        assert outcome.nearest() is not None
    for one in outcome.relaxed():
        limit = wanted.named(one.limit)
        assert limit is not None
        assert not limit.met(one.needs)


def test_the_same_seed_asks_the_same_in_the_same_order_and_another_seed_does_not() -> None:
    wanted = limits(kv="12%", quality=["kl<0.05"])
    asked = []
    for seed in (1, 1, 2):
        judge = Planted()
        searched(wanted, judge, seed)
        asked.append(judge.asked)
    assert asked[0] == asked[1] != asked[2]
    assert {line for line, _ in asked[0]} == {line for line, _ in asked[2]}


def test_fewer_go_on_each_time_and_what_is_surely_beyond_is_stopped() -> None:
    judge = Planted()
    outcome, points = searched(limits(kv="12%", quality=["kl<0.05"]), judge)
    rungs = [[line for line, rung in judge.asked if rung == n] for n in range(3)]
    assert len(rungs[0]) >= len(rungs[1]) >= len(rungs[2])
    assert len(rungs[2]) <= GO_ON[1] + 4 + 1
    assert set(rungs[2]) <= set(rungs[1]) <= set(rungs[0])
    stopped = {p.line for p in points if p.stage == "stopped"}
    assert stopped
    assert all(planted_kl(line) - 0.02 > 0.05 for line in stopped - set(rungs[1]))
    assert len(rungs[0]) <= 1 + outcome.search.counts["singles"] + TRIED


def test_the_untouched_model_is_ranked_beside_them() -> None:
    _, points = searched(limits(kv="12%", quality=["kl<0.05"]))
    dense = next(p for p in points if p.line == "dense")
    assert (dense.stage, dense.on_frontier) == ("ranked", True)


def test_the_untouched_model_wins_where_it_meets_all() -> None:
    outcome, _ = searched(limits(memory="5000B", quality=["kl<0.05"]))
    assert outcome.feasible()[0].line == "dense"


def test_what_fails_is_no_part_of_a_combination() -> None:
    judge = Planted(failing=("quant(bits=4)",))
    _, points = searched(limits(kv="12%", quality=["kl<0.05"]), judge)
    assert not any("quant(bits=4) +" in p.line or "+ quant(bits=4)" in p.line for p in points)
    assert next(p for p in points if p.line == "quant(bits=4)").reason == "it broke"


def test_when_time_is_up_one_recipe_is_brought_to_the_end() -> None:
    wanted = limits(kv="12%", quality=["kl<0.05"])
    made = search(judge := Planted(), wanted)
    made.late = lambda: True
    points = made.run(space(ask, wanted, DENSE, SEES, METHODS).parts)
    assert {rung for _, rung in judge.asked} == {0, 2}
    assert made.cut == ("The time was up: combinations were not scored, and one recipe went on to the end.",)
    assert sum(p.stage == "ranked" for p in points) <= 1 + 4 + 1


def test_an_impossible_size_names_the_limit_that_binds_and_what_comes_nearest() -> None:
    outcome, _ = searched(limits(kv="0.1%", quality=["kl<0.05"]))
    assert outcome.feasible() == []
    told = outcome.binds(())
    assert told.startswith("--kv 0.1% binds: the least that any of ")
    assert told.endswith(
        "recipes is predicted to take is 0.625% (evict(budget=10%) + quant(bits=2)), whatever its quality"
    )
    assert outcome.nearest() is not None


def test_limits_that_exclude_each_other_name_the_one_that_is_missed_least() -> None:
    outcome, _ = searched(limits(kv="10%", quality=["kl<0.0105"]))
    assert outcome.feasible() == []
    told = outcome.binds(())
    assert " binds: with the other limits met, the least is " in told
    names = {one.limit for one in outcome.relaxed()}
    assert names == {"kv", "kl"}
    kl = next(one for one in outcome.relaxed() if one.limit == "kl")
    assert planted_kl(kl.line) == pytest.approx(kl.needs)


def test_a_proof_that_misses_says_by_what() -> None:
    outcome, _ = searched(limits(kv="12%", quality=["kl<0.05"]))
    missed = Check("kl<0.05", False, Estimate(0.06, 0.04, 0.08, "nats/token", 6, 6), 0.05)
    told = outcome.binds([Proof("quant", (missed,))])
    assert (
        told
        == "kl<0.05 binds: quant met it in the search, and on items held out it has 0.0600 [0.0400, 0.0800] nats/token"
    )
    assert outcome.binds([Proof("quant", (), reason="it broke")]) == "the proof of quant failed: it broke"


def test_the_axis_is_what_is_limited() -> None:
    assert axis_of(limits(kv="12%")) == "kv"
    assert axis_of(limits(kv="12%", memory="50%")) == axis_of(limits(quality=["kl<1"])) == "memory"
