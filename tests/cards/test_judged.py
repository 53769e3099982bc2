"""Wilson's interval against published ones; a task of the judge on the untouched model."""

from __future__ import annotations

import pytest

from paretolm.cards.judged import judged, share
from paretolm.evaluation.tasks.context.recall import Recall
from tests.evaluation import judging


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),  # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_as_published(hits: int, trials: int, low: float, high: float) -> None:
    found = share(hits, trials)
    assert (found["value"], found["trials"]) == (hits / trials, trials)
    assert found["low"] == pytest.approx(low, abs=5e-5)
    assert found["high"] == pytest.approx(high, abs=5e-5)


def test_the_judge_gives_the_same_rows() -> None:
    task, source = Recall(lengths=(2.0,), depths=(0.0, 1.0), repeats=2), judging.source()
    items, told = task.items(source, judging.lm()), list[float]()
    expected, _ = judging.judge(task, "dense", items)
    found = judged(judging.lm(), task, source, told.append)
    assert [r.key for r in found] == [r.key for r in expected]
    assert [r.value for r in found] == pytest.approx([r.value for r in expected], abs=1e-4)
    assert told == [0.25, 0.5, 0.75, 1.0]
