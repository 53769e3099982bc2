"""Correlation against scipy, its interval against Fisher's, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from paretolm.evaluation.metrics.correlation import correlation

DICE = np.random.default_rng(0)


def test_the_value_is_scipy_s_and_the_interval_near_fisher_s() -> None:
    x = DICE.standard_normal(400)
    y = 0.6 * x + 0.8 * DICE.standard_normal(400)
    known, found = stats.pearsonr(x, y), correlation(x.tolist(), y.tolist())
    assert found.value == pytest.approx(known.statistic)
    low, high = known.confidence_interval()
    assert (found.low, found.high) == (pytest.approx(low, abs=0.03), pytest.approx(high, abs=0.03))
    assert found.n == 400


def test_right_and_wrong_is_the_point_biserial() -> None:
    x, right = np.arange(50.0), (np.arange(50) > 20).astype(float)
    assert correlation(x.tolist(), right.tolist()).value == pytest.approx(stats.pointbiserialr(right, x).statistic)


def test_nothing_to_do_with_each_other() -> None:
    found = [correlation(DICE.standard_normal(60).tolist(), DICE.standard_normal(60).tolist()) for _ in range(40)]
    assert sum(f.low < 0 < f.high for f in found) >= 34  # type: ignore[operator]


@pytest.mark.parametrize(("x", "y"), [([], []), ([1.0], [2.0]), ([1.0, 2, 3], [1.0, 1, 1]), ([5.0, 5], [0.0, 1])])
def test_what_never_changes_has_none(x: list[float], y: list[float]) -> None:
    found = correlation(x, y)
    assert (found.value, found.low, found.high, found.n) == (None, None, None, len(x))
