"""The space follows from what methods are predicted to hold: knobs that change it, values that just fit, reasons."""

from __future__ import annotations

from paretolm.bench.tune.candidates import SHARES, extended, space
from paretolm.bench.tune.limits import Limits
from tests.bench.tune.planted import DENSE, METHODS, ask, limits

SEES = {"keep", "store", "weights", "frequency"}


def lines(wanted: Limits) -> set[str]:
    return {f.line for f in space(ask, wanted, DENSE, SEES, METHODS).parts}


def test_knobs_that_change_what_is_limited_are_searched() -> None:
    assert lines(limits(kv="90%")) == {
        *(f"evict(budget={share}%)" for share in SHARES),
        "evict(budget=90%)",
        *(f"quant(bits={b})" for b in (8, 4, 2)),
    }
    assert {"shrink(bits=8)", "shrink(bits=4)"} <= lines(limits(memory="50%"))


def test_what_just_fits_stands_in_for_values_close_to_it() -> None:
    found = lines(limits(kv="27%"))
    assert "evict(budget=27%)" in found
    assert "evict(budget=25%)" not in found
    assert {"evict(budget=10%)", "evict(budget=50%)"} <= found


def test_every_method_left_out_has_its_reason() -> None:
    told = {left.reason: left.methods for left in space(ask, limits(kv="25%"), DENSE, SEES, METHODS).left}
    assert told == {
        "needs a second model, which only you can name": ("draft",),
        "needs something that only you can give": ("given",),
        "must be fitted first (paretolm fit)": ("learnt",),
        "has no place in this model": ("refused",),
        "saves nothing of what is limited": ("shrink", "turn"),
        "acts where no quality asked for can see it": ("ask",),
    }


def test_without_a_limit_on_bytes_all_bytes_count() -> None:
    assert {"shrink(bits=4)", "quant(bits=2)"} <= lines(limits(quality=["kl<0.1"]))


def test_a_combination_holds_each_method_once_and_each_set_stands_once() -> None:
    parts = space(ask, limits(kv="90%"), DENSE, SEES, METHODS).parts
    pairs = extended([(p,) for p in parts], parts)
    assert all(len({m for f in pair for m in f.methods}) == 2 for pair in pairs)
    assert len({frozenset(f.line for f in pair) for pair in pairs}) == len(pairs) == 5 * 3
    assert extended(pairs, parts) == []
