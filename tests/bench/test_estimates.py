"""Rows become numbers in the units people read, and breakdowns along what varies."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from paretolm.bench.results.estimates import estimates, metric_of
from paretolm.evaluation.rows import Row
from paretolm.evaluation.summary import Summary


def rows(
    metric: str, value: Callable[[int, int], float], docs: int = 24, tags: tuple[int, ...] = (0, 128)
) -> list[Row]:
    return [
        Row(f"i{d}", f"d{d}", metric, value(d, t), 2.0, {"position": t} if len(tags) > 1 else {})
        for d in range(docs)
        for t in tags
    ]


def test_nll_becomes_perplexity_and_a_difference_in_percent() -> None:
    dense = rows("nll", lambda d, _: 2 + 0.01 * d)
    recipe = rows("nll", lambda d, _: 2.1 + 0.01 * d)
    found = estimates({"dense": dense, "r": recipe}, "nll", seed=0)
    metric = found["r"][0][0]
    assert (metric.name, metric.estimate.num_documents) == ("perplexity", 24)
    assert metric.estimate.value == pytest.approx(math.exp(2.1 + 0.01 * 11.5))
    assert metric.delta is not None
    assert metric.delta.value == pytest.approx(100 * (math.exp(0.1) - 1))
    assert metric.delta.low == pytest.approx(metric.delta.value), "no document differs from another"
    assert found["dense"][0][0].delta is None


def test_shares_become_percent_and_points() -> None:
    dense = rows("recall", lambda d, _: 1.0, tags=(0,))
    recipe = rows("recall", lambda d, _: float(d % 4 != 0), tags=(0,))
    metric = estimates({"dense": dense, "r": recipe}, "recall", seed=0)["r"][0][0]
    assert (metric.estimate.value, metric.estimate.unit) == (75.0, "%")
    assert metric.delta is not None
    assert (metric.delta.value, metric.delta.unit) == (-25.0, "points")


def test_the_headline_stands_first() -> None:
    both = rows("nll", lambda d, _: 2.0) + rows("bits_per_byte", lambda d, _: 1.0)
    assert [m.name for m in estimates({"dense": both}, "bits_per_byte", 0)["dense"][0]] == [
        "bits_per_byte",
        "perplexity",
    ]
    assert [m.name for m in estimates({"dense": both}, "nll", 0)["dense"][0]] == ["perplexity", "bits_per_byte"]


def test_a_tag_that_varies_gives_a_line() -> None:
    found = estimates({"dense": rows("nll", lambda d, t: 2.0 + (t > 0))}, "nll", 0)["dense"][1]
    (line,) = found
    assert (line.metric, line.x_name, line.x) == ("perplexity", "position", (0.0, 128.0))
    assert line.value == pytest.approx((math.exp(2), math.exp(3)))
    assert not estimates({"dense": rows("nll", lambda d, t: 2.0, tags=(0,))}, "nll", 0)["dense"][1]


def test_length_and_depth_give_a_grid() -> None:
    cells = [
        Row(
            f"i{d}{n}{x}",
            f"d{d}",
            "recall",
            float(n == 64 or x == 1),
            1.0,
            {"length": n, "depth": x, "num_facts": d % 2},
        )
        for d in range(6)
        for n in (64, 128)
        for x in (0, 1)
    ]
    (grid,) = estimates({"dense": cells}, "recall", 0)["dense"][1]
    assert (grid.x_name, grid.y_name) == ("length", "depth")
    assert dict(zip(zip(grid.x, grid.y, strict=True), grid.value, strict=True)) == {
        (64.0, 0.0): 1.0,
        (64.0, 1.0): 1.0,
        (128.0, 0.0): 0.0,
        (128.0, 1.0): 1.0,
    }
    assert grid.num_items == (6, 6, 6, 6)


def test_without_the_untouched_model_recipes_stand_alone() -> None:
    found = estimates({"a": rows("nll", lambda d, _: 2.0), "b": rows("nll", lambda d, _: 3.0)}, "nll", 0)
    assert [found[r][0][0].delta for r in "ab"] == [None, None]


def test_few_documents_are_said() -> None:
    assert (
        metric_of(Summary("nll", "r", 4, 4, 20.0, 18.0, 22.0, few_clusters=True)).estimate.note == "too few documents"
    )
    assert metric_of(Summary("nll", "r", 1, 1, 20.0, None, None)).estimate.note == "one document"
