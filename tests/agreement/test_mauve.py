"""Our MAUVE beside the package of its authors, mauve-text, on the same features and the same histograms.

Equal are: the reduction of features to principal components, the number of clusters, the frontier and the area under
it from the same histograms, and the whole wherever clusters lie so far apart that every k-means finds them.
Not equal is k-means where clusters are not plain: the package has faiss's, in single precision from centres drawn
evenly, and ours begins with k-means++ in double. Each ends in other clusters with every seed, so there the means over
seeds are held together, to three of their standard errors. The package's smoothed variants are not ours.

Behind the extra: pip install 'paretolm[mauve]', then pytest tests/agreement."""

from __future__ import annotations

import importlib.util
from functools import cache
from string import ascii_lowercase
from types import SimpleNamespace

import numpy as np
import pytest

from paretolm.evaluation.metrics.mauve import clusters, frontier, histogram, mauve, reduced, usual_count
from tests.agreement import items

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("mauve") is None,
        reason="mauve-text is not installed: pip install 'paretolm[mauve]'",
    ),
    pytest.mark.filterwarnings("ignore"),  # those of other packages are not ours to mend
]
CLOSE = 1e-9
EACH = 120  # texts in a set
SEEDS = range(24)


def theirs(p: np.ndarray, q: np.ndarray, seed: int = 25) -> SimpleNamespace:
    from mauve import compute_mauve

    return compute_mauve(p_features=p, q_features=q, seed=seed)


def ours(p: np.ndarray, q: np.ndarray, seed: int = 0) -> float:
    count = usual_count(min(len(p), len(q)))
    labels = clusters(np.concatenate([p, q]), count, seed)
    return mauve(histogram(labels[: len(p)], count), histogram(labels[len(p) :], count))


def pairs(text: str) -> np.ndarray:
    """How often each letter follows each [729]."""
    places = [ascii_lowercase.find(c) + 1 for c in text.lower()]
    return np.bincount(np.array(places[:-1]) * 27 + places[1:], minlength=27 * 27)


@cache
def features() -> tuple[np.ndarray, np.ndarray]:
    """Of sentences as they are, and of others without every second word [120, 729]."""
    drawn = items.drawn(3, 2 * EACH)
    short = [" ".join(s.split()[::2]) for s in drawn[EACH:]]
    return np.array([pairs(s) for s in drawn[:EACH]]), np.array([pairs(s) for s in short])


@cache
def scored() -> list[SimpleNamespace]:
    """By the package, with the k-means of each seed."""
    return [theirs(*features(), seed) for seed in SEEDS]


def apart(number: int, sizes: list[int]) -> np.ndarray:
    """Rows of clusters of these sizes, at right angles to each other [n, 8]."""
    centres = np.eye(8)[np.repeat(np.arange(len(sizes)), sizes)]
    return centres + 0.01 * np.random.default_rng(number).standard_normal(centres.shape)


def test_features_are_reduced_alike() -> None:
    """To its components, by its own calls. Components have no sign, so distances are compared."""
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import normalize

    rows = normalize(np.concatenate(features()).astype(np.float64))
    whole = PCA().fit(rows)
    kept = int(np.argmax(np.cumsum(whole.explained_variance_ratio_) >= 0.9)) + 1
    expected, found = whole.transform(rows)[:, :kept], reduced(np.concatenate(features()))
    assert found.shape == expected.shape
    one, other = (np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (expected, found))
    assert found.shape[1] > 5
    assert np.abs(one - other).max() < CLOSE


def test_the_same_histograms_have_the_same_frontier_and_area() -> None:
    for out in scored():
        assert out.num_buckets == usual_count(EACH) == len(out.p_hist)
        assert 0.01 < out.mauve < 0.999
        assert frontier(out.p_hist, out.q_hist) == pytest.approx(out.divergence_curve, abs=CLOSE)
        assert mauve(out.p_hist, out.q_hist) == pytest.approx(out.mauve, abs=CLOSE)


@pytest.mark.parametrize(("p", "q"), [([15, 5], [5, 15]), ([19, 1], [1, 19]), ([20, 5, 5], [5, 5, 20])])
def test_the_same_features_have_the_same_score_where_clusters_are_plain(p: list[int], q: list[int]) -> None:
    one, other = apart(0, p), apart(1, q)
    out = theirs(one, other)
    sizes = zip(out.p_hist * sum(p), out.q_hist * sum(q), strict=True)
    assert np.array(sorted(sizes)) == pytest.approx(np.array(sorted(zip(p, q, strict=True)))), "all clusters found"
    assert ours(one, other) == pytest.approx(out.mauve, abs=CLOSE)


def test_k_means_of_each_differs_by_no_more_than_its_seeds() -> None:
    own = np.array([ours(*features(), seed) for seed in SEEDS])
    other = np.array([out.mauve for out in scored()])
    error = np.sqrt((own.var(ddof=1) + other.var(ddof=1)) / len(SEEDS))
    assert 3 * error < 0.1, "a wider one would hide any difference"
    assert abs(own.mean() - other.mean()) < 3 * error
