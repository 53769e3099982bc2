"""MAUVE of sets of continuations: known sets, intervals by hand, and recipes on a tiny model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from paretolm.evaluation.metrics.mauve import histogram, mauve
from paretolm.studies import mauve as study
from paretolm.studies import parse
from paretolm.studies.study import Place
from tests.evaluation.judging import document, lm


def test_the_interval_leaves_out_documents() -> None:
    """By hand: the value without each document, and Student's t of their spread."""
    human, other = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    docs = ["a", "b", "c", "d"]
    found = study.jackknife(human, other, docs, 2)
    parts = []
    for i in range(4):
        kept = [j for j in range(4) if j != i]
        parts.append(mauve(histogram(human[kept], 2), histogram(other[kept], 2)))
    error = np.sqrt(3 / 4 * np.sum((np.array(parts) - np.mean(parts)) ** 2))
    assert found.value == mauve(histogram(human, 2), histogram(other, 2))
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, 3) * error)


def test_the_same_set_is_alike_and_no_difference_is_none() -> None:
    human, other = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    docs = ["a", "b", "c", "d"]
    assert study.jackknife(human, human, docs, 2).value == pytest.approx(1)
    same = study.difference(human, other, other, docs, 2)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert study.difference(human, human, other, docs, 2).value > 0
    assert study.jackknife(human, other, ["a", "a", "b", "b"], 2).low is None, "two documents have no interval"


def test_recipes_on_a_tiny_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Place, "load", lambda *_: lm())
    monkeypatch.setattr(Place, "content", lambda *_: "tiny")
    for i in range(25):
        (tmp_path / f"{i}.txt").write_text(document(i), encoding="utf-8")
    recipes = "window(window=4)/h2o(budget=50%)"
    asked = parse(f'mauve(prompts=20, length=8, max_new_tokens=8, recipes="{recipes}")')
    found = asked.run(Place(("tiny",), str(tmp_path), tmp_path / "out"))
    rows = {row[0]: row for row in found.tables[0].rows}
    assert list(rows) == ["human", "dense", *recipes.split("/")]
    assert rows["human"][1] == pytest.approx(1), "human text against itself"
    assert rows["dense"][4] == pytest.approx(1)
    assert all(0 <= row[1] <= 1 + 1e-9 for row in rows.values())
    assert 10 < (found.numbers["window(window=4): like human text, against dense"].n or 0) <= 20, "documents"
    texts = {name: [r["text"] for r in found.rows if r["set"] == name] for name in rows}
    assert {len(t) for t in texts.values()} == {20}
    assert texts["window(window=4)"] != texts["dense"]
    assert all("feature" not in r for r in found.rows)
