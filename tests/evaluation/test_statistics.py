"""Paired, weighted, clustered statistics against scipy, published examples and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from paretolm.evaluation import statistics as judge
from paretolm.evaluation.statistics import Clusters, clustered


def singles(values: np.ndarray) -> Clusters:
    return clustered(list(values), [1.0] * len(values), [str(i) for i in range(len(values))])


def test_one_item_a_document_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=7), rng.normal(size=7)
    theirs = stats.ttest_rel(a, b)
    ours = singles(a - b)
    assert ours.standard_error == pytest.approx((a - b).mean() / theirs.statistic)
    expected = theirs.confidence_interval()
    assert judge.interval(ours) == pytest.approx((expected.low, expected.high))


def test_the_bootstrap_comes_to_the_t_test_on_many_gaussian_documents() -> None:
    x = np.random.default_rng(1).normal(0.1, 1, 2000)
    expected = stats.ttest_1samp(x, 0)
    low, high = judge.interval(singles(x))
    limits = expected.confidence_interval()
    assert low == pytest.approx(limits.low, abs=0.1 * (limits.high - limits.low))
    assert high == pytest.approx(limits.high, abs=0.1 * (limits.high - limits.low))
    assert judge.sign_flip(singles(x)) == pytest.approx(expected.pvalue, abs=0.01)


def test_sign_flips_equal_scipys_permutation_test() -> None:
    x = np.random.default_rng(2).normal(0.4, 1, 12)
    theirs = stats.permutation_test((x,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert judge.sign_flip(singles(x)) == pytest.approx(theirs.pvalue)


def test_sign_flips_by_hand() -> None:
    assert judge.sign_flip(singles(np.array([1.0, 1, 1]))) == 2 / 8
    assert judge.sign_flip(singles(np.array([3.0, 1, -1]))) == 6 / 8  # of sums 5 3 3 1 and their negatives
    assert judge.sign_flip(singles(np.array([1.0] * 10 + [0.0] * 90))) == 2 / 1024  # ties say nothing


def test_the_published_mcnemar_example() -> None:
    """exact2x2's vignette (Fay): 2 against 9 discordant pairs, p = 0.06543."""
    assert judge.mcnemar(2, 9) == pytest.approx(0.06543, abs=5e-6)
    assert judge.mcnemar(0, 0) == 1.0


SLEEP = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])


def test_the_published_sleep_data() -> None:
    """Cushny and Peebles's hours of sleep as Student (1908) paired them: mean 1.58, t = 4.0621 on 9 degrees. Exact
    sign flips: none of ten differences is negative and one is 0, so 2 of 2^9."""
    found = singles(SLEEP)
    assert found.mean == pytest.approx(1.58)
    assert found.mean / found.standard_error == pytest.approx(4.0621, abs=5e-5)
    assert judge.sign_flip(found) == 2 / 2**9
    assert judge.smallest_effect(found) == pytest.approx((2.26216 + 0.88340) * 0.38896, abs=1e-4)  # t tables, 9 degrees


def test_the_published_example_of_bonett_and_price() -> None:
    """statpsych's ci.prop.ps(.05, 12, 4, 26, 6): pairs 12 00, 4 01, 26 10, 6 11; 0.2548067 to 0.6251933."""
    low, high = judge.paired_binary_interval(4, 26, 12 + 4 + 26 + 6)
    assert (low, high) == pytest.approx((0.2548067, 0.6251933), abs=5e-8)


def test_sign_flips_of_single_answers_are_mcnemar() -> None:
    values = np.array([1.0] * 9 + [-1.0] * 2 + [0.0] * 40)
    assert judge.sign_flip(singles(values)) == pytest.approx(judge.mcnemar(2, 9))


def test_a_ratio_of_sums_is_the_survey_samplers_one() -> None:
    """By hand: documents with sums 3, 8, 13 and weights 1, 2, 5: mean 24/8 = 3, residuals 0, 2, -2,
    standard error sqrt(3/2 * 8) / 8."""
    found = clustered([3, 3, 5, 2.6], [1, 1, 1, 5], ["a", "b", "b", "c"])
    assert found.mean == pytest.approx(3.0)
    assert found.standard_error == pytest.approx(np.sqrt(12) / 8)
    assert not found.singletons


def test_items_of_one_document_do_not_count_as_independent() -> None:
    x = np.random.default_rng(3).normal(size=10)
    repeated = clustered(list(np.repeat(x, 50)), [1.0] * 500, [str(i // 50) for i in range(500)])
    assert repeated.standard_error == pytest.approx(singles(x).standard_error)
    assert repeated.count == 10


def test_holm_by_hand() -> None:
    assert judge.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert judge.holm([0.9, 0.8]) == [1.0, 1.0]
    assert judge.holm([]) == []


def test_the_smallest_effect_has_the_power_it_names() -> None:
    rng = np.random.default_rng(4)
    pilot = singles(rng.normal(0, 1, 50))
    effect = judge.smallest_effect(pilot)
    assert effect is not None
    true = effect / (pilot.standard_error * np.sqrt(50))  # in units of the real spread, 1
    found = stats.ttest_1samp(rng.normal(true, 1, (4000, 50)), 0, axis=1).pvalue < 0.05
    assert np.mean(found) == pytest.approx(0.8, abs=0.02)


def test_one_document_no_spread_and_all_ties() -> None:
    one = clustered([1.0, 2.0], [1, 1], ["a", "a"])
    assert one.standard_error is None
    assert judge.interval(one) == (None, None)
    assert judge.smallest_effect(one) is None
    assert judge.sign_flip(one) == 1.0
    same = clustered([0.1] * 30, [3.0] * 30, [str(i) for i in range(30)])
    assert judge.interval(same) == pytest.approx((0.1, 0.1))
    assert judge.smallest_effect(same) is None
    ties = singles(np.zeros(30))
    assert judge.interval(ties) == (0.0, 0.0)
    assert judge.sign_flip(ties) == 1.0


def test_few_documents_that_differ_do_not_break_the_bootstrap() -> None:
    values = np.zeros(40)
    values[3] = 1.0
    low, high = judge.interval(singles(values))
    assert np.isfinite([low, high]).all()
    assert low < 0 < high


def test_no_discordant_pair_is_not_certainty() -> None:
    low, high = judge.paired_binary_interval(0, 0, 30)
    assert low == -high
    assert 0.05 < high < 0.12
    assert judge.paired_binary_interval(30, 0, 30)[0] >= -1


def test_a_share_alone_is_scipys_exact_interval() -> None:
    for hits in (0, 1, 17, 30):
        expected = stats.binomtest(hits, 30).proportion_ci()
        found = judge.share_interval(singles(np.array([1.0] * hits + [0.0] * (30 - hits))))
        assert found == pytest.approx((expected.low, expected.high))


def test_a_share_of_clustered_answers_counts_what_they_are_worth() -> None:
    """Ten documents, each answered alike 5 times: worth about ten answers, not fifty."""
    values = np.repeat([1.0] * 7 + [0.0] * 3, 5)
    names = [str(i // 5) for i in range(50)]
    low, high = judge.share_interval(clustered(list(values), [1.0] * 50, names))
    ten = stats.binomtest(7, 10).proportion_ci()
    assert low == pytest.approx(ten.low, abs=0.03)
    assert high == pytest.approx(ten.high, abs=0.03)
    assert judge.share_interval(clustered([1.0] * 50, [1.0] * 50, names)) == pytest.approx((0.025**0.1, 1.0))


def test_bonett_and_price_keep_their_level() -> None:
    rng = np.random.default_rng(5)
    draws = rng.multinomial(40, [0.1, 0.2, 0.7], 3000)
    inside = [low <= 0.1 <= high for low, high in (judge.paired_binary_interval(a, b, 40) for a, b, _ in draws)]
    assert 0.93 <= np.mean(inside) <= 0.98


@pytest.mark.parametrize(("draw", "mean"), [("lognormal", np.exp(0.5)), ("t3", 0.0)])
def test_intervals_keep_their_level_on_heavy_tails(draw: str, mean: float) -> None:
    """30 documents of unequal weight; the plain t interval covers 0.87 of the skewed means."""
    rng = np.random.default_rng(6)
    weights = rng.integers(1, 20, 30).astype(float)
    inside = []
    for i in range(600):
        x = rng.lognormal(size=30) if draw == "lognormal" else rng.standard_t(3, 30)
        low, high = judge.interval(Clusters(weights * x, weights, False), seed=i, resamples=600)
        inside.append(low <= mean <= high)
    assert 0.92 <= np.mean(inside) <= 0.98


@pytest.mark.parametrize("count", [8, 20, 60])
def test_clustered_intervals_keep_their_level_when_items_of_a_document_fall_together(count: int) -> None:
    """Skewed documents with 1 to 12 items that share their document's score: by item the interval would cover
    far less. 8 documents are below FEW_CLUSTERS, and it shows."""
    rng, inside, naive = np.random.default_rng(9), [], []
    for i in range(300):
        sizes = rng.integers(1, 13, count)
        shared = np.repeat(rng.lognormal(size=count), sizes)
        values = shared + 0.3 * rng.normal(size=len(shared))
        names = np.repeat(np.arange(count), sizes).astype(str)
        low, high = judge.interval(clustered(list(values), [1.0] * len(values), list(names)), seed=i, resamples=500)
        inside.append(low <= np.exp(0.5) <= high)
        by_item = stats.ttest_1samp(values, 0).confidence_interval()
        naive.append(by_item.low <= np.exp(0.5) <= by_item.high)
    assert np.mean(inside) >= (0.91 if count >= judge.FEW_CLUSTERS else 0.8)
    assert np.mean(naive) < np.mean(inside) - 0.1


def test_sign_flips_keep_their_level_on_documents_of_unequal_size() -> None:
    rng = np.random.default_rng(7)
    sizes = rng.integers(1, 9, 25)
    names = np.repeat([str(i) for i in range(25)], sizes)
    rejected = []
    for i in range(400):
        shared = np.repeat(rng.standard_t(3, 25), sizes)
        found = clustered(list(shared + rng.normal(size=len(names))), [1.0] * len(names), list(names))
        rejected.append(judge.sign_flip(found, seed=i, flips=399) <= 0.05)
    assert 0.02 <= np.mean(rejected) <= 0.08


def test_same_seed_same_numbers() -> None:
    x = singles(np.random.default_rng(8).lognormal(size=50))
    assert judge.interval(x, seed=3) == judge.interval(x, seed=3)
    assert judge.interval(x, seed=3) != judge.interval(x, seed=4)
    assert judge.sign_flip(x, seed=3) == judge.sign_flip(x, seed=3)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(0.1, 9), st.sampled_from("abcdefghij")), min_size=2, max_size=40),
    st.floats(0.1, 10),
    st.floats(-3, 3),
)
def test_intervals_follow_scale_and_shift(rows: list[tuple[float, float, str]], scale: float, shift: float) -> None:
    values, weights, names = (list(c) for c in zip(*rows, strict=True))
    plain = clustered(values, weights, names)
    moved = clustered([scale * v + shift for v in values], weights, names)
    low, high = judge.interval(plain, resamples=200)
    moved_low, moved_high = judge.interval(moved, resamples=200)
    if low is None or high is None:
        assert moved_low is None
        return
    assert low <= high
    if high - low > 1e-6:
        assert moved_low == pytest.approx(scale * low + shift, abs=1e-6 * scale)
        assert moved_high == pytest.approx(scale * high + shift, abs=1e-6 * scale)
