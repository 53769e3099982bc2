"""Median and its order-statistic interval."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from paretolm.evaluation.spread import spread


def test_five_repeats_span_their_range_at_94_percent():
    found = spread([3, 1, 2, 5, 4])
    assert (found.median, found.low, found.high, found.n) == (3, 1, 5, 5)
    assert found.coverage == 1 - 2 / 2**5  # Conover, Practical Nonparametric Statistics: 1 - 2 (1/2)^n
    assert str(found) == "3 [1, 5]"


def test_twenty_values_drop_five_on_each_side():
    # the textbook table for n = 20: 6th and 15th values, confidence 0.9586
    found = spread(range(1, 21))
    assert (found.low, found.high) == (6, 15)
    assert found.coverage == pytest.approx(0.9586, abs=1e-4)


def test_one_value_covers_nothing():
    found = spread([7])
    assert (found.median, found.low, found.high, found.coverage) == (7, 7, 7, 0)


def test_no_value_is_refused():
    with pytest.raises(ValueError, match="no values"):
        spread([])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_the_interval_encloses_the_median_and_covers_as_it_says(values):
    found = spread(values)
    assert found.low <= found.median <= found.high
    n = len(values)
    below = [k for k in range(1, n + 1) if sorted(values)[k - 1] == found.low]
    wanted = {max(0.0, 1 - 2 * binom.cdf(k - 1, n, 0.5)) for k in below}
    assert any(found.coverage == pytest.approx(w, abs=1e-9) for w in wanted)
    if n >= 6:
        assert found.coverage >= 0.95
