"""Verdicts: from hand-made rows to each of the four, and never from noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretolm.errors import CellError
from paretolm.evaluation.rows import Row
from paretolm.evaluation.summary import summarise
from paretolm.papers.claim import Claim, Limit
from paretolm.papers.numbers import exact, mean, share
from paretolm.papers.verdict import combined, judge, told, weigh
from paretolm.studies.study import Number
from tests.papers.made import claim, work

GAIN = Limit(number="gain", at_least=0.0, expected=1.0)
SMALL = Limit(number="loss", at_most=5.0, expected=0.0)


def rows(values: list[float]) -> list[Row]:
    return [Row(f"i{i}", f"d{i}", "margin", v) for i, v in enumerate(values)]


def gain(differences: list[float]) -> Number:
    """The paired difference of two arms whose items differ by this much."""
    base = [0.1 * i for i in range(len(differences))]
    arms = {"base": rows(base), "own": rows([b + d for b, d in zip(base, differences, strict=True)])}
    _, s = summarise(arms, "base")
    assert s.delta is not None
    return Number(s.delta, "", s.delta_low, s.delta_high, s.n_items)


def asked(*limits: Limit, needs: tuple[Limit, ...] = ()) -> Claim:
    return claim(work, *limits, needs=needs)  # type: ignore[arg-type]


SHIFTED = [1.0, 1.2, 0.8, 0.9, 1.1, 1.3, 0.7, 1.0, 1.1, 0.9]
WIDE = [5.0, -6.0, 4.0, -3.0, 2.0, -4.5, 6.0, -2.0, 3.0, -4.0]
TIGHT = [0.1, -0.1, 0.2, -0.2, 0.05, -0.05, 0.12, -0.1, 0.02, -0.03]


def test_rows_that_all_gain_reproduce() -> None:
    ruling = judge(asked(GAIN), {"gain": gain(SHIFTED)})
    assert ruling.verdict == "reproduced"
    assert ruling.limits[0].outcome == "met"
    assert "gain 1" in ruling.why


def test_rows_that_all_lose_do_not() -> None:
    assert judge(asked(GAIN), {"gain": gain([-d for d in SHIFTED])}).verdict == "not"


def test_no_gain_where_one_as_claimed_would_have_been_seen_is_not_reproduced() -> None:
    ruling = judge(asked(GAIN), {"gain": gain(TIGHT)})
    assert ruling.verdict == "not"
    assert ruling.limits[0].smallest is not None
    assert ruling.limits[0].smallest < 1.0
    assert "80% power" in ruling.why


def test_no_gain_where_none_could_have_been_seen_is_not_testable() -> None:
    ruling = judge(asked(GAIN), {"gain": gain(WIDE)})
    assert ruling.verdict == "not testable at this scale"
    assert ruling.limits[0].smallest is not None
    assert ruling.limits[0].smallest > 1.0
    assert "80% power" in ruling.why


def test_one_limit_of_two_is_partly() -> None:
    numbers = {"gain": gain(SHIFTED), "loss": exact(7.0)}
    assert judge(asked(GAIN, SMALL), numbers).verdict == "partly"
    assert judge(asked(GAIN, SMALL), numbers | {"loss": exact(5.0)}).verdict == "reproduced"


def test_a_need_that_is_not_met_makes_it_not_testable_whatever_the_limits_say() -> None:
    able = Limit(number="recall", at_least=50.0, expected=90.0)
    numbers = {"gain": gain(SHIFTED), "recall": share([True] * 3 + [False] * 37, [f"d{i}" for i in range(40)])}
    ruling = judge(asked(GAIN, needs=(able,)), numbers)
    assert ruling.verdict == "not testable at this scale"
    assert ruling.why.startswith("recall 7.50% [")
    assert [j.outcome for j in ruling.limits] == ["met"]


def test_a_number_without_an_interval_tells_nothing() -> None:
    assert weigh(GAIN, Number(3.0)).outcome == "cannot be told"
    assert judge(asked(GAIN), {"gain": mean([3.0, 4.0], ["a", "a"])}).verdict == "not testable at this scale"


def test_a_number_that_was_not_measured_is_an_error() -> None:
    with pytest.raises(CellError, match="gave no gain, only loss"):
        judge(asked(GAIN), {"loss": exact(1.0)})


def test_a_limit_has_one_side_and_an_expectation_on_it() -> None:
    for wrong in ({"at_least": 1.0, "at_most": 2.0}, {}, {"at_least": 1.0, "expected": 0.5}):
        with pytest.raises(AssertionError):
            Limit(**{"number": "x", "expected": 1.5} | wrong)  # type: ignore[arg-type]


def test_the_smallest_difference_is_that_of_the_power_formula() -> None:
    """(1.96 + 0.8416) standard errors; here the standard error is 1."""
    judged = weigh(GAIN, Number(0.3, "", 0.3 - 1.959964, 0.3 + 1.959964, 10))
    assert judged.smallest == pytest.approx(2.801585)


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        (["met", "met"], "reproduced"),
        (["met", "missed"], "partly"),
        (["met", "cannot be told"], "partly"),
        (["missed", "cannot be told"], "not"),
        (["missed"], "not"),
        (["cannot be told"], "not testable at this scale"),
    ],
)
def test_how_outcomes_combine(outcomes: list[str], verdict: str) -> None:
    assert combined(outcomes) == verdict  # type: ignore[arg-type]


@given(st.floats(-50, 50), st.floats(0, 20), st.floats(0, 20), st.floats(0, 30))
def test_a_limit_and_its_mirror_agree(value: float, below: float, above: float, reach: float) -> None:
    """at_least of x is at_most of -x."""
    number = Number(value, "", value - below, value + above, 5)
    mirrored = Number(-value, "", -value - above, -value + below, 5)
    up = weigh(Limit(number="x", at_least=1.0, expected=1.0 + reach), number)
    down = weigh(Limit(number="x", at_most=-1.0, expected=-1.0 - reach), mirrored)
    assert up.outcome == down.outcome
    assert (up.outcome == "met") == (value - below >= 1.0)


def test_noise_does_not_reproduce() -> None:
    """Pure noise meets a limit at zero about as often as one side of a 95% interval allows."""
    rng = np.random.default_rng(0)
    verdicts = [judge(asked(GAIN), {"gain": gain(rng.normal(0, 1, 20).tolist())}).verdict for _ in range(120)]
    assert verdicts.count("reproduced") <= 9  # 3 expected; 10 or more have p = 0.001
    assert len(set(verdicts)) > 1


def test_a_true_effect_reproduces() -> None:
    rng = np.random.default_rng(1)
    found = [judge(asked(GAIN), {"gain": gain(rng.normal(1, 1, 40).tolist())}).verdict for _ in range(20)]
    assert found.count("reproduced") >= 18


def test_numbers_as_people_read_them() -> None:
    assert told(Number(1.0234, "x", 0.99, 1.05)) == "1.02 x [0.990, 1.05]"
    assert told(exact(25.0, "%")) == "25.0%"
    assert told(Number(0.5)) == "0.500"
