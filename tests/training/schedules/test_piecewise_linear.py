"""Learning rates between given points, by hand."""

from __future__ import annotations

import pytest

from paretolm.errors import UserError
from paretolm.training.schedules.piecewise_linear import PiecewiseLinear


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 0.5), (10, 0.5), (15, 0.75), (20, 1.0), (60, 0.5), (100, 0.0), (101, 0.0)]
)
def test_factors_lie_on_the_lines(step: int, factor: float) -> None:
    schedule = PiecewiseLinear(at=(10, 20, 100), scales=(0.5, 1.0, 0.0))
    assert schedule.scale(step, 1000) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("at", "scales", "said"),
    [
        ((), (), "rising steps"),
        ((1, 2), (1.0,), "rising steps"),
        ((2, 1), (1.0, 0.0), "rising steps"),
        ((1, 1), (1.0, 0.0), "rising steps"),
        ((1, 2), (1.0, -0.1), r"scales are 0 or more, not -0\.1"),
    ],
)
def test_points_that_are_no_line_are_refused(at: tuple[int, ...], scales: tuple[float, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        PiecewiseLinear(at=at, scales=scales)
