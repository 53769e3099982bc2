"""Artifacts are fitted once, however many processes ask for them at the same time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from paretolm.bench.workers import fitting
from paretolm.recipes.recipe import Recipe
from tests.evaluation import judging


def test_of_two_that_ask_at_once_one_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARETOLM_HOME", str(tmp_path))
    lm, texts, fitted, told = judging.lm(), [judging.document(i) for i in range(3)], [], []
    someone_waits, fit = threading.Event(), fitting._fit

    def slow(*rest: Any) -> Any:
        assert someone_waits.wait(60)
        fitted.append(rest[1].name)
        return fit(*rest)

    def tell(sentence: str) -> None:
        told.append(sentence)
        if "waiting" in sentence:
            someone_waits.set()

    monkeypatch.setattr(fitting, "_fit", slow)
    with ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(fitting.fit_recipe, lm, Recipe.parse("knn-lm(k=4)"), lambda: texts, tell=tell) for _ in range(2)
        ]
        (one,), (other,) = (job.result().values() for job in asked)
    assert fitted == ["knn-lm"]
    assert told == ["fitting knn-lm on 3 documents", "another process fits knn-lm; waiting for it"]
    assert one.tensors.keys() == other.tensors.keys()
    assert all(one.tensors[name].equal(other.tensors[name]) for name in one.tensors)
