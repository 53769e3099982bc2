"""MAUVE: a histogram by hand, both ends, and what must hold of any two sets."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from paretolm.evaluation.metrics.mauve import clusters, frontier, histogram, kl, mauve, reduced, usual_count

shares = some.lists(some.integers(0, 9), min_size=2, max_size=6).filter(any)


def test_divergence_by_hand() -> None:
    assert kl(np.array([0.5, 0.5]), np.array([0.25, 0.75])) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert kl(np.array([0.0, 1.0]), np.array([0.5, 0.5])) == pytest.approx(math.log(2))
    assert kl(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == math.inf


def test_equal_histograms_are_at_one_and_disjoint_ones_near_nothing() -> None:
    p = np.array([0.2, 0.3, 0.5])
    assert mauve(p, p) == pytest.approx(1.0)
    assert mauve(np.array([1.0, 0.0]), np.array([0.0, 1.0])) < 0.01


def test_disjoint_histograms_by_hand() -> None:
    """The mixture with share w of p is -log(1 - w) from q and -log(w) from p: points ((1 - w)^5, w^5)."""
    found = frontier(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    w = np.linspace(1e-6, 1 - 1e-6, 25)
    assert found[1:-1] == pytest.approx(np.stack([(1 - w) ** 5, w**5], axis=1))
    exact = math.gamma(6) * math.gamma(6) / math.gamma(11)  # 5 B(5, 6), the area under x = (1-w)^5, y = w^5
    assert mauve(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(exact, rel=0.2)


def test_a_small_difference_by_hand() -> None:
    """p = (1/2, 1/2), q = (1/4, 3/4), c = 5: at the even mixture (3/8, 5/8) both divergences are known."""
    p, q, r = np.array([0.5, 0.5]), np.array([0.25, 0.75]), np.array([0.375, 0.625])
    middle = frontier(p, q)[13]
    to_q = 0.25 * math.log(2 / 3) + 0.75 * math.log(1.2)
    to_p = 0.5 * math.log(4 / 3) + 0.5 * math.log(0.8)
    assert middle == pytest.approx([math.exp(-5 * to_q), math.exp(-5 * to_p)])
    assert (kl(q, r), kl(p, r)) == pytest.approx((to_q, to_p))
    assert 0.8 < mauve(p, q) < 1


@given(shares, some.integers(0, 1 << 30))
def test_it_is_symmetric_between_0_and_1_and_greatest_at_equality(counts: list[int], seed: int) -> None:
    p = np.array(counts, dtype=float)
    q = np.random.default_rng(seed).permutation(p)
    assert 0 <= mauve(p, q) <= 1 + 1e-9
    assert mauve(p, q) == pytest.approx(mauve(q, p))
    assert mauve(p, q) <= mauve(p, p) + 1e-9


def test_clusters_find_what_lies_apart() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(4)[rng.integers(0, 4, 200)] * 10
    labels = clusters(centres + 0.1 * rng.standard_normal((200, 4)), 4)
    for own in range(4):
        assert len(set(labels[centres[:, own] > 0].tolist())) == 1
    assert len(set(labels.tolist())) == 4
    assert clusters(np.ones((5, 3)), 3).tolist() == [0] * 5, "rows that are all the same are one cluster"
    assert reduced(centres).shape == (200, 3)


def test_more_alike_sets_score_higher() -> None:
    rng = np.random.default_rng(1)
    human, near, far = (rng.standard_normal((150, 8)) + shift for shift in (0.0, 0.3, 2.0))
    labels = clusters(np.concatenate([human, near, far]), usual_count(150))
    h, n, f = (histogram(part, 15) for part in np.split(labels, 3))
    assert mauve(h, n) > mauve(h, f) + 0.1
    assert histogram(np.array([0, 1, 1]), 3).tolist() == pytest.approx([1 / 3, 2 / 3, 0])
