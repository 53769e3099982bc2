"""Many labels from examples in the prompt: every label is shown, positions, the nearest example, oracle and chance."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paretolm.errors import RecipeError, TextError
from paretolm.evaluation.tasks import make
from paretolm.evaluation.tasks.context._context import Question
from paretolm.evaluation.tasks.context._nearest import nearest
from tests.evaluation import sets
from tests.evaluation.asked import opened, said, values
from tests.evaluation.judging import lm, source

_SHOWN = re.compile(r"Request: (.+)\nCategory: (.+)")


def bench(**knobs: Any) -> tuple[Any, list[Question]]:
    return opened("licon-bench", **({"lengths": (12.0, 14.0, 16.0, 18.0, 20.0), "queries": 5} | knobs))


def test_every_label_is_shown_at_every_length() -> None:
    task, questions = bench()
    assert len({q.tags["length"] for q in questions}) == 5
    sizes: dict[Any, list[int]] = {}
    for question in questions:
        shown = _SHOWN.findall(question.prompt)
        assert len({label for _, label in shown}) == 12
        assert question.answers[0].strip() in {label for _, label in shown}
        assert len(shown) == question.facts["examples"] == len(set(shown)), "no example twice"
        sizes.setdefault(question.tags["length"], []).append(len(shown))
    means = [np.mean(sizes[length]) for length in sorted(sizes)]
    assert means == sorted(means)
    assert means[-1] > 1.5 * means[0]
    assert task.files()


def test_grouped_examples_stand_together_and_depth_is_where_the_right_ones_are() -> None:
    _, questions = bench(orders=("grouped",))
    for question in questions:
        labels = [label for _, label in _SHOWN.findall(question.prompt)]
        assert sum(a != b for a, b in itertools.pairwise(labels)) == 11
        mine = [i for i, label in enumerate(labels) if label == question.answers[0].strip()]
        depth = np.mean(mine) / (len(labels) - 1)
        assert question.tags["depth"] <= depth <= question.tags["depth"] + 0.2
    assert len({q.tags["depth"] for q in questions}) >= 3


def test_an_oracle_scores_all_a_wrong_label_nothing_and_chance_one_in_twelve() -> None:
    task, questions = bench()
    dice, hits = np.random.default_rng(0), []
    for question in questions:
        labels = sorted({label for _, label in _SHOWN.findall(question.prompt)})
        assert values(said(task, question, f"{question.answers[0]}\n\nRequest: more")) == {"exact_match": 1}
        assert values(said(task, question, " nothing of the kind")) == {"exact_match": 0}
        hits += [task.grade(f" {dice.choice(labels)}", question)["exact_match"] for _ in range(20)]
    assert np.mean(hits) == pytest.approx(1 / 12, abs=0.03)


def test_the_nearest_example_by_hand() -> None:
    texts = ["book a table", "play a song", "book a flight to Rome"]
    assert nearest("a flight please", texts) == 2
    assert nearest("play something", texts) == 1
    assert nearest("nothing in common", texts) == 2, "the last of equals"
    assert nearest("a", ["a b", "a"]) == 1, "cosine: the shorter one is nearer"


def test_the_nearest_example_does_better_than_chance() -> None:
    _, questions = bench(queries=20, lengths=(20.0,), orders=("scattered",))
    assert np.mean([q.facts["nearest"] for q in questions]) > 0.5


def folder(to: Path, train: list[dict[str, str]], test: list[dict[str, str]]) -> str:
    sets.write(to / "train.jsonl", train)
    sets.write(to / "test.jsonl", test)
    return str(to)


def test_a_set_of_the_user(tmp_path: Path) -> None:
    train = [{"text": f"the {colour} one {i}", "label": colour} for colour in ("red", "blue") for i in range(3)]
    path = folder(tmp_path, train, [{"text": "a red one", "label": "red"}, {"text": "what", "label": "unknown"}])
    _, questions = opened("licon-bench", path=path, lengths=(2.0,), orders=("scattered",))
    assert [q.answers for q in questions] == [(" red",)], "labels without an example are not asked for"
    assert questions[0].facts["nearest"] == 1


def test_what_cannot_be_met_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"have no room for an example of each of 12 labels: give .* labels=\d"):
        bench(lengths=(4.0,))
    _, questions = bench(lengths=(4.0,), labels=2)
    assert all(len({x for _, x in _SHOWN.findall(q.prompt)}) == 2 for q in questions)
    with pytest.raises(RecipeError, match="orders are scattered or grouped"):
        make("licon-bench", orders=("sorted",))
    with pytest.raises(TextError, match=r"no file .*train.jsonl; give licon-bench\(path="):
        make("licon-bench", path=str(tmp_path)).questions(source(), lm())
    path = folder(tmp_path, [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}], [{"text": "c", "label": "z"}])
    with pytest.raises(TextError, match=r"no line of test\.jsonl has a label of train\.jsonl"):
        make("licon-bench", path=path).questions(source(), lm())
