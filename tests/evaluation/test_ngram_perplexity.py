"""Vectors of relative perplexities, by hand and by a loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretolm.evaluation.metrics.ngram_perplexity import ngram_perplexities, relative_perplexities


def test_a_hand_calculation() -> None:
    """Probabilities 1/2, 1/8, 1/2: pairs have perplexity 4 and 4; tokens 4, 4, 4. Single tokens 2, 8, 2 over 4."""
    nll = np.log([2.0, 8.0, 2.0])
    assert ngram_perplexities(nll, 2) == pytest.approx([4, 4])
    assert relative_perplexities(ngram_perplexities(nll, 2), 3) == pytest.approx([1, 1, 1])
    assert relative_perplexities(ngram_perplexities(nll, 1), 3) == pytest.approx([0.5, 2, 0.5])
    assert ngram_perplexities(nll, 9) == pytest.approx([32 ** (1 / 3)]), "the whole text where n is longer"


@given(st.lists(st.floats(0, 20), min_size=1, max_size=20), st.integers(1, 6))
def test_a_loop_over_runs(nats: list[float], n: int) -> None:
    size = min(n, len(nats))
    runs = [float(np.exp(np.mean(nats[i : i + size]))) for i in range(len(nats) - size + 1)]
    values = [np.mean([r for i, r in enumerate(runs) if i <= t < i + size]) for t in range(len(nats))]
    found = relative_perplexities(ngram_perplexities(np.array(nats), n), len(nats))
    np.testing.assert_allclose(found, np.array(values) / np.mean(values), rtol=1e-9)
    assert found.mean() == pytest.approx(1)


def test_one_odd_token_stands_out_where_the_mean_hides_it() -> None:
    """Same perplexity, other vectors: nats 1 1 1 9 1 1 1 against 15/7 each."""
    odd, even = np.array([1.0, 1, 1, 9, 1, 1, 1]), np.full(7, 15 / 7)
    assert odd.mean() == pytest.approx(even.mean())
    vectors = [relative_perplexities(ngram_perplexities(x, 2), 7) for x in (odd, even)]
    assert vectors[0].argmax() == 3
    assert vectors[0].max() > 2.4
    assert vectors[1] == pytest.approx(np.ones(7))
