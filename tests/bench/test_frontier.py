"""The Pareto frontier against its definition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretolm.bench.results.frontier import frontier

points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12)


def beats(p: tuple[float, float], q: tuple[float, float]) -> bool:
    """p is at least as good in both and better in one; less is better."""
    return p[0] <= q[0] and p[1] <= q[1] and p != q


@given(points, st.booleans(), st.booleans())
def test_exactly_the_points_nothing_beats(given_points: list[tuple[int, int]], higher_x: bool, higher_y: bool) -> None:
    flipped = [((-1 if higher_x else 1) * x, (-1 if higher_y else 1) * y) for x, y in given_points]
    expected = {i for i, p in enumerate(flipped) if not any(beats(q, p) for q in flipped)}
    assert set(frontier(given_points, higher=(higher_x, higher_y))) == expected


def test_a_hand_example_in_order() -> None:
    assert frontier([(4, 1.0), (1, 9.0), (2, 3.0), (3, 5.0), (2, 3.0)]) == [1, 2, 4, 0]


@pytest.mark.parametrize("higher", [(False, False), (True, True)])
def test_nothing_has_no_frontier(higher: tuple[bool, bool]) -> None:
    assert frontier([], higher=higher) == []
