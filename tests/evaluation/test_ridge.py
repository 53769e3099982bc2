"""Ridge regression against its normal equations, and leaving out one by one for real."""

from __future__ import annotations

import numpy as np
import pytest

from paretolm.evaluation.metrics.ridge import PENALTIES, ridge

DICE = np.random.default_rng(0)
X = DICE.standard_normal((40, 6)) * [1, 2, 5, 0.1, 1, 0] + 3  # the last feature never changes
Y = X @ [1.0, 0, -0.5, 4, 0, 0] + DICE.standard_normal(40)


def solved(x: np.ndarray, y: np.ndarray, penalty: float, at: np.ndarray) -> np.ndarray:
    centre, spread = X.mean(axis=0)[:-1], X.std(axis=0)[:-1]
    z = (x[:, :-1] - centre) / spread
    z = np.column_stack([np.ones(len(z)), z])
    weights = np.linalg.solve(z.T @ z + penalty * np.diag([0.0] + [1.0] * 5), z.T @ y)
    return np.column_stack([np.ones(len(at)), (at[:, :-1] - centre) / spread]) @ weights


def test_the_fit_solves_the_normal_equations() -> None:
    fit = ridge(X, Y)
    np.testing.assert_allclose(fit(X), solved(X, Y, fit.penalty, X), rtol=1e-9)
    assert fit.weights[-1] == 0


def test_the_penalty_is_the_best_for_examples_left_out() -> None:
    """The features' scale stays that of all examples, as in the closed form."""

    def error(penalty: float) -> float:
        out = [solved(np.delete(X, i, 0), np.delete(Y, i), penalty, X[i : i + 1])[0] - Y[i] for i in range(len(Y))]
        return float(np.square(out).mean())

    assert ridge(X, Y).penalty == min(PENALTIES, key=error)


def test_what_says_nothing_is_given_no_weight() -> None:
    noise = DICE.standard_normal((30, 200))
    y = DICE.standard_normal(30)
    assert np.abs(ridge(noise, y)(noise) - y.mean()).max() < np.abs(y - y.mean()).max()
    constant = ridge(np.ones((10, 3)), np.arange(10.0))
    assert constant(np.zeros((2, 3))) == pytest.approx([4.5, 4.5])
