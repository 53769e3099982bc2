"""Scales++: what items ask, which are chosen, and what is estimated from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from paretolm.errors import UserError
from paretolm.studies import scales_pp as sp
from paretolm.studies._questions import Question
from paretolm.studies._scales import SCALES, scales
from paretolm.studies.study import Place


def question(i: int, context: str, *choices: str) -> Question:
    return Question(str(i), str(i), context, choices or ("yes", "maybe"), 0)


def test_scales_follow_the_words() -> None:
    asked = [
        question(0, "The cat sat."),
        question(1, "If 12 and 30 are given, what is the sum? Then 7 is not 8."),
        question(2, "He thought that she wanted to know.", "one two", "one three"),
    ]
    table = scales(asked)
    assert table.shape == (3, len(SCALES))
    assert np.allclose(table.mean(0), 0, atol=1e-12)
    highest = dict(zip(SCALES, table.argmax(0).tolist(), strict=True))
    assert [highest[s] for s in ("quantity", "logical reasoning", "negation", "formal knowledge")] == [1, 1, 1, 1]
    assert [highest[s] for s in ("mind modelling", "likeness of choices", "verbal expression")] == [2, 2, 2]
    assert not table[:, SCALES.index("unguessability")].any(), "the same for all, so that it tells nothing"


@given(some.lists(some.text(max_size=60), min_size=2, max_size=8))
def test_any_words_have_scales(texts: list[str]) -> None:
    table = scales([question(i, t, t, "x") for i, t in enumerate(texts)])
    assert np.isfinite(table).all()


def clusters(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Four kinds of items far apart, and how hard each is: what kind says all about the score."""
    kind = rng.integers(4, size=400)
    embedding = np.stack([10.0 * (kind % 2), 10.0 * (kind // 2)], axis=1) + 0.1 * rng.standard_normal((400, 2))
    return embedding, np.array([0.0, 0.0, 1.0, 1.0])[kind]


def test_a_subset_that_covers_the_kinds_tells_the_whole() -> None:
    rng = np.random.default_rng(0)
    embedding, scores = clusters(rng)
    chosen = sp.choose(embedding, 8, 0)
    assert len(set(chosen.items.tolist())) == len(chosen.items) <= 8
    assert chosen.weights.sum() == pytest.approx(1.0)
    guess = sp.estimate(chosen, scores, embedding, ridge=1e-6)
    chance = [abs(scores[rng.choice(400, 8, replace=False)].mean() - scores.mean()) for _ in range(200)]
    assert abs(guess - scores.mean()) < 0.02 < np.mean(chance)


def test_scores_without_a_pattern_are_no_better_than_random() -> None:
    """Control: where demands say nothing, choosing by them gains nothing."""
    rng = np.random.default_rng(1)
    embedding, _ = clusters(rng)
    scores = (rng.random(400) < 0.5).astype(float)
    by_scales = [abs(sp.estimate(sp.choose(embedding, 20, s), scores, embedding) - scores.mean()) for s in range(40)]
    by_chance = [abs(scores[rng.choice(400, 20, replace=False)].mean() - scores.mean()) for _ in range(400)]
    assert np.mean(by_scales) > 0.7 * np.mean(by_chance)


def test_only_scores_of_the_subset_are_read() -> None:
    embedding, scores = clusters(np.random.default_rng(2))
    chosen = sp.choose(embedding, 10, 0)
    hidden = np.full(400, np.nan)
    hidden[chosen.items] = scores[chosen.items]
    assert sp.estimate(chosen, hidden, embedding) == sp.estimate(chosen, scores, embedding)


def test_components_hold_most_of_the_variance() -> None:
    rng = np.random.default_rng(3)
    table = rng.standard_normal((50, 2)) @ rng.standard_normal((2, 10))
    assert sp.embed(table).shape[1] <= 2


def test_a_whole_run(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Place, "content", lambda self, model: model)

    def known(self, at, model, asked, number):
        return [float(i % (number + 2) == 0) for i in range(len(asked))]

    monkeypatch.setattr(sp.ScalesPp, "_scores", known)
    at = Place(("a", "b", "c"), output=tmp_path)
    found = sp.ScalesPp(items=200, share=0.1, draws=40).run(at)
    assert [row[0] for row in found.tables[1].rows] == ["a", "b", "c"]
    full = [float(row[1] or 0) for row in found.tables[1].rows]
    assert full == sorted(full, reverse=True)
    assert 0 < found.numbers["random: error"].value < 20
    assert 0 <= found.numbers["random subsets that do worse"].value <= 100
    with pytest.raises(UserError, match="less than two"):
        sp.ScalesPp(items=100, share=0.01, draws=20).run(at)
