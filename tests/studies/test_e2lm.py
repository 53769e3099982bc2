"""E2LM: signal and consistency of score curves with known answers, and a whole run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from paretolm.errors import UserError
from paretolm.studies import e2lm
from paretolm.studies.study import Place
from tests.evaluation import judging

ONE = {"run": list(range(6))}


def test_rising_scores_are_a_perfect_signal() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.5, 0.6, 0.9])
    assert e2lm.monotonicity(ONE, scores) == pytest.approx(1.0)
    assert e2lm.monotonicity(ONE, scores[::-1]) == pytest.approx(-1.0)
    assert e2lm.directness(ONE, scores) == pytest.approx(1.0)


def test_scores_that_stay_say_nothing() -> None:
    assert e2lm.monotonicity(ONE, np.full(6, 0.25)) == 0.0
    assert e2lm.directness(ONE, np.full(6, 0.25)) == 0.0


def test_directness_is_net_over_total_change() -> None:
    assert e2lm.directness({"run": [0, 1, 2, 3]}, np.array([0.0, 0.4, 0.2, 0.6])) == pytest.approx(0.6 / 1.0)


def test_halves_agree_on_a_plain_order_and_not_on_noise() -> None:
    rng = np.random.default_rng(0)
    groups = [[i] for i in range(400)]
    plain = (rng.random((6, 400)) < np.linspace(0.1, 0.9, 6)[:, None]).astype(float)
    noise = (rng.random((6, 400)) < 0.25).astype(float)
    orders = [rng.permutation(400) for _ in range(20)]
    assert np.mean([e2lm.consistency(ONE, plain, o, groups) for o in orders]) == pytest.approx(1.0)
    assert abs(np.mean([e2lm.consistency(ONE, noise, o, groups) for o in orders])) < 0.6


def test_three_runs_are_ranked_early_and_at_the_end() -> None:
    runs = {name: [3 * i, 3 * i + 1, 3 * i + 2] for i, name in enumerate("abc")}
    same = np.array([[x] * 8 for x in (0.1, 0.2, 0.3, 0.2, 0.3, 0.5, 0.3, 0.4, 0.9)])
    turned = same[[0, 1, 8, 3, 4, 5, 6, 7, 2]]
    groups, order = [[i] for i in range(8)], np.arange(8)
    assert e2lm.consistency(runs, same, order, groups) == pytest.approx(1.0)
    assert e2lm.consistency(runs, turned, order, groups) == pytest.approx(-1.0)


def test_checkpoints_are_told_by_their_directories(tmp_path: Path) -> None:
    for run, step in (("a", 20), ("a", 3), ("b", 7)):
        (tmp_path / run / f"step-{step}").mkdir(parents=True)
    found = e2lm.checkpoints(
        [str(tmp_path / "a" / "step-20"), str(tmp_path / "b" / "step-7"), str(tmp_path / "a" / "step-3")]
    )
    assert [(Path(c.run).name, c.step) for c in found] == [("a", 3), ("a", 20), ("b", 7)]
    assert [(c.run, c.step) for c in e2lm.checkpoints(["draft", "reference"])] == [("call", 1), ("call", 2)]
    with pytest.raises(UserError, match="the same step"):
        e2lm.checkpoints([str(tmp_path / "a" / "step-3")] * 2)


def test_runs_of_few_checkpoints_count_as_one() -> None:
    found = [e2lm.Checkpoint("x", run, step) for run, step in (("a", 9), ("b", 2), ("c", 5))]
    assert e2lm.by_run(found) == {"all": [1, 2, 0]}


def test_a_model_that_knows_more_scores_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle and chance: score 1 where the model knows the answer, 1/4 where it guesses."""
    share = {"one": 0.0, "two": 0.5, "three": 1.0}
    monkeypatch.setattr(Place, "content", lambda self, model: model)

    def knowing(at: Place, model: str, asked: list[e2lm.Question]) -> dict[str, list[float]]:
        rng = np.random.default_rng(len(model))
        known = (rng.random(len(asked)) < 0.25 + 0.75 * share[model]).astype(float).tolist()
        return {form: known if form.startswith("cloze") else [0.25] * len(asked) for form in e2lm.FORMS}

    monkeypatch.setattr(e2lm, "score", knowing)
    study = e2lm.E2lm(items=100, resamples=100)
    found = study.run(Place(("one", "two", "three"), output=tmp_path))
    assert found.numbers["cloze: signal"].value == pytest.approx(1.0)
    assert found.numbers["letters: signal"].value == 0.0
    low = found.numbers["cloze minus letters, signal"].low
    assert low is not None
    assert low > 0
    scores = {row[0]: row[1] for row in found.tables[1].rows}
    assert scores["three"] == 100.0
    assert 10 < float(scores["one"] or 0) < 42
    assert len(found.rows) == 3 * len({r["item"] for r in found.rows})


def test_scores_of_a_real_model_lie_between_nothing_and_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Place, "load", lambda self, model: judging.lm())
    asked = [e2lm.Question(str(i), str(i), "some words", ("a b", "c d", "e f", "g"), i % 4) for i in range(40)]
    found = e2lm.score(Place(output=tmp_path), "x", asked)
    assert list(found) == list(e2lm.FORMS)
    assert all(0 <= v <= 1 for values in found.values() for v in values)
    assert np.mean(found["letters"]) == pytest.approx(0.25), (
        "the same question for every answer is right a quarter of the time"
    )
