"""Shortenings by hand, the regression against its condition and chance, the study on sets whose answer is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from paretolm.errors import TextError
from paretolm.studies._probe import fitted, folds, predicted
from paretolm.studies._shortenings import FIRST, WAYS, rare_words, shortened
from paretolm.studies.study import Place
from paretolm.studies.text_shortening_hacks import TextShorteningHacks
from tests.evaluation.judging import lm

TEXT = "The cat saw the dog, and the dog didn't see a Cat!"


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        (FIRST, TEXT),
        ("no stopwords", "cat saw dog, dog didn't see Cat!"),
        ("no punctuation", "The cat saw the dog and the dog didn't see a Cat"),
        ("no rare words", "The cat the dog, the dog Cat!"),
        ("no repetitions", "The cat saw dog, and didn't see a!"),
        ("no stopwords, no punctuation", "cat saw dog dog didn't see Cat"),
    ],
)
def test_ways_by_hand(way: str, expected: str) -> None:
    assert shortened(TEXT, way, rare_words([TEXT], 2)) == expected


def test_rare_words_are_counted_in_small_letters() -> None:
    assert rare_words([TEXT], 2) == {"saw", "and", "didn't", "see", "a"}


def test_the_regression_is_at_its_minimum() -> None:
    """There the gradient of loss and penalty is zero: the weights are the penalised sum of the errors."""
    torch.manual_seed(0)
    x, y = torch.randn(40, 3, dtype=torch.double), torch.randint(0, 3, (40,))
    weight, bias = fitted(x, y, 3, 2.0)
    errors = (x @ weight + bias).softmax(-1) - torch.nn.functional.one_hot(y, 3)
    torch.testing.assert_close(2.0 * weight, -x.T @ errors, atol=1e-3, rtol=1e-2)
    torch.testing.assert_close(errors.sum(0), torch.zeros(3, dtype=torch.double), atol=1e-3, rtol=0)


def test_folds_are_even_and_hold_every_class() -> None:
    labels = [0] * 10 + [1] * 15
    found = folds(labels, 5, 0)
    assert [int((found == f).sum()) for f in range(5)] == [5] * 5
    assert all(int(((found == f) & (torch.tensor(labels) == 0)).sum()) == 2 for f in range(5))


def test_what_is_plain_is_told_and_what_is_not_is_not() -> None:
    labels = [i % 2 for i in range(60)]
    noise = torch.tensor(np.random.default_rng(1).normal(size=(60, 8)))
    told = noise + 10.0 * torch.tensor(labels)[:, None]
    assert predicted(told, labels, 0) == labels
    hits = sum(a == b for a, b in zip(predicted(noise, labels, 0), labels, strict=True))
    assert 15 <= hits <= 45  # chance: 30, and 15 lies four standard deviations off


def written(folder: Path, rows: list[dict[str, str]]) -> str:
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(Place, "load", lambda self, model: lm())
    monkeypatch.setattr(Place, "content", lambda self, model: "tiny")
    return Place(("tiny",), output=folder)


def rows(tell: bool) -> list[dict[str, str]]:
    """Texts of one letter where the class is told, of both where it is not."""
    dice = np.random.default_rng(0)
    return [
        {
            "text": " ".join(["aa", "zz"][i % 2 if tell else int(dice.integers(2))] for _ in range(5)),
            "label": "xy"[i % 2],
        }
        for i in range(160)
    ]


@pytest.mark.parametrize("tell", [True, False])
def test_the_study_tells_classes_where_they_can_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tell: bool
) -> None:
    monkeypatch.setattr(
        "paretolm.studies.text_shortening_hacks.WAYS", {FIRST: WAYS[FIRST], "no stopwords": WAYS["no stopwords"]}
    )
    study = TextShorteningHacks(path=written(tmp_path, rows(tell)), join=4, texts=40)
    found = study.run(place(tmp_path, monkeypatch))
    right = found.numbers[f"{FIRST} at 512"]
    assert right.n == 40
    assert right.value == 100 if tell else 20 <= right.value <= 80
    assert len(found.tables[0].rows) == 2
    if tell:
        assert found.numbers["best way at 256 against first 512"].value == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (None, "has no test.jsonl"),
        (['{"text": "a"}'], "line 1 needs the fields text and label"),
        (["{"], "line 1 is not JSON"),
        (['{"text": "a", "label": 1}'] * 60, "lower join"),
    ],
)
def test_sets_that_do_not_serve_are_named(tmp_path: Path, lines: list[str] | None, message: str) -> None:
    if lines is not None:
        (tmp_path / "test.jsonl").write_text("\n".join(lines))
    with pytest.raises(TextError, match=message):
        TextShorteningHacks(path=str(tmp_path)).run(Place(("tiny",), output=tmp_path))


def test_a_set_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="needs a set"):
        TextShorteningHacks().run(Place(("tiny",), output=tmp_path))
