"""Learning rates at a few points, by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretolm.training.contracts import Schedule
from paretolm.training.schedules.cosine import Cosine
from paretolm.training.schedules.warmup_stable_decay import WarmupStableDecay

STABLE = WarmupStableDecay(warmup=0.1, decay=0.2)
HALF_WAVE = Cosine(warmup=0.1, floor=0.1)


@pytest.mark.parametrize(
    ("schedule", "step", "factor"),
    [
        (STABLE, 0, 0.1),
        (STABLE, 4, 0.5),
        (STABLE, 9, 1.0),
        (STABLE, 50, 1.0),
        (STABLE, 80, 1.0),
        (STABLE, 90, 0.5),
        (STABLE, 99, 0.05),
        (WarmupStableDecay(warmup=0, decay=0), 0, 1.0),
        (WarmupStableDecay(warmup=0, decay=0), 99, 1.0),
        (WarmupStableDecay(warmup=1, decay=0), 49, 0.5),
        (HALF_WAVE, 0, 0.1),
        (HALF_WAVE, 4, 0.5),
        (HALF_WAVE, 10, 1.0),
        (HALF_WAVE, 55, 0.1 + 0.9 / 2),
        (HALF_WAVE, 40, 0.1 + 0.9 * (1 + 0.5) / 2),
        (HALF_WAVE, 99, 0.1 + 0.9 * (1 - math.cos(math.pi / 90)) / 2),
        (Cosine(warmup=0, floor=0), 1, 1.0),
    ],
)
def test_factors_of_a_hundred_steps(schedule: Schedule, step: int, factor: float) -> None:
    assert schedule.scale(step, 100) == pytest.approx(factor)


@given(st.integers(1, 300), st.floats(0, 1), st.floats(0, 1), st.data())
def test_factors_stay_between_nothing_and_everything(steps: int, one: float, two: float, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, steps - 1))
    assert 0 < WarmupStableDecay(warmup=one, decay=two).scale(step, steps) <= 1
    assert 0 <= Cosine(warmup=one, floor=two).scale(step, steps) <= 1 + 1e-12
