"""Fractal parameters on noise of known H, drawn by Cholesky's factor of its covariance, and by hand."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretolm.evaluation.metrics.fractal import (
    Growth,
    expected_range,
    fractional_noise,
    hurst,
    joseph,
    rescaled_ranges,
    self_similarity,
    standardised,
)

SCALES = [16, 24, 32, 48, 64, 96, 128, 192, 256]


def covariance(h: float, length: int) -> np.ndarray:
    """Of fractional Gaussian noise (Mandelbrot and Van Ness 1968)."""
    k = np.abs(np.subtract.outer(np.arange(length), np.arange(length))).astype(float)
    return 0.5 * (np.abs(k + 1) ** (2 * h) - 2 * k ** (2 * h) + np.abs(k - 1) ** (2 * h))


@cache
def noise(h: float, length: int = 1024, count: int = 60) -> tuple[np.ndarray, ...]:
    factor = np.linalg.cholesky(covariance(h, length))
    drawn = np.random.default_rng(0).standard_normal((length, count))
    return tuple(standardised(x) for x in (factor @ drawn).T)


@pytest.mark.parametrize("h", [0.4, 0.5, 0.6, 0.7])
def test_known_exponents_are_found(h: float) -> None:
    assert hurst(noise(h), SCALES).exponent() == pytest.approx(h, abs=0.05)
    assert joseph(noise(h), SCALES[:5]).exponent() == pytest.approx(h, abs=0.05)
    assert self_similarity(noise(h), SCALES[:5], 0.2).exponent() == pytest.approx(h, abs=0.06)


def test_exponents_keep_their_order_and_are_too_small_for_long_memory() -> None:
    found = [hurst(noise(h), SCALES).exponent() for h in (0.4, 0.5, 0.6, 0.7, 0.8)]
    assert found == sorted(found)
    assert 0.68 < found[-1] < 0.8


def test_white_noise_needs_the_correction() -> None:
    plain, mended = (hurst(noise(0.5), SCALES, corrected=c) for c in (False, True))
    assert plain.exponent() > 0.53
    low, high = mended.interval()
    assert low is not None
    assert high is not None
    assert low < 0.5 < high
    assert high - low < 0.05


def test_order_is_what_is_measured() -> None:
    dice = np.random.default_rng(1)
    mixed = [dice.permutation(x) for x in noise(0.8)]
    assert hurst(mixed, SCALES).exponent() == pytest.approx(0.5, abs=0.03)


def test_a_rescaled_range_by_hand() -> None:
    """1, 3, 2, 6: deviations -2, 0, -1, 3, running -2, -2, -3, 0: range 3; deviation sqrt(14 / 4)."""
    found = rescaled_ranges(np.array([1.0, 3, 2, 6, 5, 5, 5, 5, 9]), 4)
    assert found == pytest.approx([3 / np.sqrt(14 / 4)]), "a window that never changes and a rest are left out"


def test_the_expected_range_of_two_is_exact_and_of_many_is_measured() -> None:
    """Two values differ by their range: R/S = (d/2) / (d/2) = 1."""
    assert expected_range(2) == pytest.approx(1.0)
    white = np.random.default_rng(0).standard_normal(200_000)
    for scale in (8, 50):
        # Anis and Lloyd divide by the deviation with n in its denominator, as we do
        assert rescaled_ranges(white, scale).mean() == pytest.approx(expected_range(scale), rel=0.01)


def test_a_walk_of_equal_steps_spreads_with_its_length() -> None:
    up = np.ones(64)
    assert joseph([up], [1, 2, 4, 8]).exponent() == pytest.approx(1.0)
    assert np.isnan(self_similarity([up], [1, 2, 4], 0.5).exponent()), "X never comes back"


def test_series_are_pooled_and_weighed() -> None:
    growth = Growth(np.array([1.0, 4.0]), np.array([[1.0, 4.0], [1.0, 16.0]]), np.ones((2, 2)))
    assert growth.of([0]).exponent() == pytest.approx(1.0)
    assert growth.of([1]).exponent() == pytest.approx(2.0)
    assert growth.exponent() == pytest.approx(np.log(10) / np.log(4))
    assert growth.exponent(np.array([0.0, 2.0])) == pytest.approx(2.0)
    assert growth.of([0]).interval() == (None, None)


def test_the_generator_has_the_covariance_it_says() -> None:
    for h in (0.3, 0.75):
        dice = np.random.default_rng(0)
        drawn = np.array([fractional_noise(h, 16, dice) for _ in range(40_000)])
        np.testing.assert_allclose(drawn.T @ drawn / len(drawn), covariance(h, 16), atol=0.03)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40))
def test_a_standard_series(values: list[float]) -> None:
    series = np.array(values)
    if series.std() <= 0:
        with pytest.raises(ValueError, match="never changes"):
            standardised(series)
    elif series.std() > 1e-6:
        x = standardised(series)
        assert x.mean() == pytest.approx(0, abs=1e-6)
        assert x.std() == pytest.approx(1)
