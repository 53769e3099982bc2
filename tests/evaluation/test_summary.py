"""Rows to one line a recipe: pairing, clusters, units, refusals."""

import math

import numpy as np
import pytest
from scipy import stats

from paretolm.errors import CellError, UserError
from paretolm.evaluation.rows import METRICS, Row
from paretolm.evaluation.summary import summarise


def nll_rows(values: np.ndarray, tokens: int = 10) -> list[Row]:
    return [
        Row(f"stream-{i // 4}", f"doc{i}", "nll", float(v), tokens, {"position": 128 << (i % 2)})
        for i, v in enumerate(values)
    ]


def recall_rows(values: list[int]) -> list[Row]:
    return [Row(f"q{i}", f"doc{i}", "recall", float(v)) for i, v in enumerate(values)]


def test_perplexity_is_the_exponent_and_its_difference_a_ratio() -> None:
    base = np.random.default_rng(0).normal(3, 0.5, 40)
    rows = {"dense": nll_rows(base), "window": nll_rows(base + math.log(1.1))}
    dense, window = summarise(rows, "dense")
    assert dense.mean == pytest.approx(math.exp(base.mean()))
    assert dense.low < dense.mean < dense.high
    assert (dense.delta, dense.p) == (None, None)
    assert (window.delta, window.delta_low, window.delta_high) == pytest.approx((1.1, 1.1, 1.1))
    assert window.p == pytest.approx(1e-4)
    assert window.sde is None
    assert (window.n_items, window.n_docs, window.few_clusters) == (10, 40, False)


def test_seven_documents_give_the_t_tests_interval_of_the_ratio_and_are_few() -> None:
    rng = np.random.default_rng(1)
    base, other = rng.normal(3, 1, 7), rng.normal(3.2, 1, 7)
    found = summarise({"dense": nll_rows(base), "r": nll_rows(other)}, "dense")[1]
    limits = stats.ttest_rel(other, base).confidence_interval()
    assert (found.delta_low, found.delta_high) == pytest.approx((math.exp(limits.low), math.exp(limits.high)))
    assert found.few_clusters
    assert found.sde is not None
    assert found.sde > 1


def test_answers_are_compared_by_mcnemar() -> None:
    base = [1] * 9 + [0] * 2 + [1] * 20
    other = [0] * 9 + [1] * 2 + [1] * 20
    found = summarise({"dense": recall_rows(base), "r": recall_rows(other)}, "dense")[1]
    assert found.p == pytest.approx(0.06543, abs=5e-6)
    assert found.delta == pytest.approx(-7 / 31)
    assert found.delta_low < found.delta < found.delta_high


def test_several_answers_a_document_are_clustered() -> None:
    def rows(values: list[int]) -> list[Row]:
        return [Row(f"q{i}", f"doc{i // 10}", "recall", float(v)) for i, v in enumerate(values)]

    found = summarise({"dense": rows([1] * 50), "r": rows([0] * 10 + [1] * 40)}, "dense")[1]
    assert found.p == 1.0  # one document of five differs, however many of its answers do
    assert found.n_docs == 5
    same = summarise({"dense": rows([1] * 50), "r": rows([1] * 50)}, "dense")[1]
    assert same.low < 1
    assert same.delta_low < 0 < same.delta_high


def test_p_values_are_adjusted_over_the_recipes_of_a_metric() -> None:
    base = np.random.default_rng(2).normal(3, 0.5, 12)
    shifts = np.random.default_rng(3).normal(0.05, 0.1, (3, 12))
    rows = {"dense": nll_rows(base)} | {f"r{i}": nll_rows(base + s) for i, s in enumerate(shifts)}
    found = summarise(rows, "dense")[1:]
    order = sorted(found, key=lambda s: s.p)
    assert order[0].p_holm == pytest.approx(min(1, 3 * order[0].p))
    assert [s.p_holm for s in order] == sorted(s.p_holm for s in order)


def test_grouping_by_a_tag_leaves_untagged_rows_aside() -> None:
    rows = [*nll_rows(np.arange(8.0)), Row("stream-0", "doc0", "bits_per_byte", 1.0, 3)]
    found = summarise({"dense": rows}, "dense", by="position")
    assert [(s.metric, s.group) for s in found] == [("nll", 128), ("nll", 256)]
    assert found[1].mean == pytest.approx(math.exp(4.0))


def test_a_metric_only_one_recipe_has_stands_alone() -> None:
    rows = recall_rows([1, 0])
    audit = [Row("audit", f"doc{i}", "audit_nll_gap", 0.1 * i, 5) for i in range(3)]
    found = summarise({"dense": rows, "h2o": [*rows, *audit]}, "dense")
    assert [(s.metric, s.recipe, s.delta is None) for s in found] == [
        ("recall", "dense", True),
        ("recall", "h2o", False),
        ("audit_nll_gap", "h2o", True),
    ]


def test_one_item_alone() -> None:
    found = summarise({"dense": recall_rows([1]), "r": recall_rows([0])}, "dense")[1]
    assert (found.delta, found.delta_low, found.delta_high, found.p) == (-1, None, None, 1.0)
    assert found.sde is None


def test_unequal_items_weights_and_repeats_are_refused() -> None:
    base = recall_rows([1, 1, 0])
    heavier = [Row(r.item, r.doc, r.metric, r.value, 2.0) for r in base]
    for other, said in ((base[:2], "not scored on the same items"), (base + base[:1], "more than once")):
        with pytest.raises(UserError, match=said):
            summarise({"dense": base, "r": other}, "dense")
    with pytest.raises(ValueError, match="differently"):
        summarise({"dense": base, "r": heavier}, "dense")
    with pytest.raises(UserError, match="baseline"):
        summarise({"r": base}, "dense")


@pytest.mark.parametrize(("value", "weight"), [(math.nan, 1), (math.inf, 1), (1.0, 0), (1.0, math.nan)])
def test_what_is_no_number_fails_the_cell(value: float, weight: float) -> None:
    with pytest.raises(CellError, match="cannot be averaged"):
        summarise({"dense": [Row("a", "b", "nll", value, weight)]}, "dense")


def test_every_metric_says_what_it_is() -> None:
    for metric in METRICS.values():
        assert metric.unit
        assert metric.help
    assert METRICS["nll"].label == "perplexity"
