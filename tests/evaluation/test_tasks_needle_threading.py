"""Needles and threads: known answers, a lookup solver, chance, effective length by hand."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paretolm.errors import RecipeError
from paretolm.evaluation.metrics.effective_length import effective_length
from paretolm.evaluation.tasks import make
from paretolm.evaluation.tasks.context._context import Question
from paretolm.evaluation.tasks.context._haystack import KINDS, Haystack, Shape, hidden, solved
from tests.evaluation.asked import opened, said, values
from tests.evaluation.judging import lm, source


def needles(**knobs: Any) -> tuple[Any, list[Question]]:
    return opened("needle-threading", **({"lengths": (5.0,), "form": "number", "repeats": 2} | knobs))


SHAPES = st.one_of(
    st.builds(Shape, st.just("single"), depth=st.floats(0, 1)),
    st.builds(Shape, st.sampled_from(["multiple", "conditional"]), st.integers(1, 5), clustered=st.booleans()),
    st.builds(
        Shape,
        st.sampled_from(["thread", "branched"]),
        steps=st.integers(2, 5),
        direction=st.sampled_from(["forward", "backward", "random"]),
        branches=st.integers(2, 4),
    ),
    st.builds(Shape, st.just("multi-thread"), st.integers(2, 4), st.integers(2, 4)),
)


@given(SHAPES, st.integers(0, 30), st.sampled_from(["uuid", "number"]), st.integers(0, 2**31))
@settings(max_examples=80, deadline=None)
def test_a_lookup_of_the_prompt_alone_finds_every_answer(shape: Shape, more: int, form: str, seed: int) -> None:
    found = hidden(shape, shape.pairs + more, form, np.random.default_rng(seed))
    assert len(found.pairs) == shape.pairs + more
    assert solved(found.prompt(shape.kind)) == found.answer


def test_a_thread_by_hand() -> None:
    found = Haystack((("a", "b"), ("x", "y"), ("b", "c"), ("c", "end")), ("a",), ("end",))
    prompt = found.prompt("thread")
    assert json.loads(prompt.partition("\n\n")[0]) == {"a": "b", "x": "y", "b": "c", "c": "end"}
    assert prompt.endswith('Key: "a"\nLast value:')
    assert solved(prompt) == ' "end"'


def test_of_branches_the_longest_is_followed() -> None:
    pairs = (("a", "dead"), ("b", "no"), ("a", "b"), ("b", "c"), ("c", "end"))
    assert solved(Haystack(pairs, ("a",), ()).prompt("branched")) == ' "end"'


@pytest.mark.parametrize(("direction", "order"), [("forward", 1), ("backward", -1)])
def test_threads_run_their_way_through_the_text(direction: str, order: int) -> None:
    found = hidden(Shape("thread", steps=4, direction=direction), 30, "number", np.random.default_rng(3))
    keys = [k for k, _ in found.pairs]
    at, places = found.asked[0], []
    while at in keys:
        places.append(keys.index(at))
        at = dict(found.pairs)[at]
    assert len(places) == 4
    assert places == sorted(places)[::order]


def test_a_single_needle_stands_at_its_depth_and_clustered_ones_side_by_side() -> None:
    dice = np.random.default_rng(0)
    found = hidden(Shape("single", depth=0.25), 41, "uuid", dice)
    assert [k for k, _ in found.pairs].index(found.asked[0]) == 10
    found = hidden(Shape("multiple", 4, clustered=True), 41, "uuid", dice)
    places = sorted([k for k, _ in found.pairs].index(k) for k in found.asked)
    assert places == list(range(places[0], places[0] + 4))


def test_marked_keys_are_those_that_are_meant() -> None:
    found = hidden(Shape("conditional", 3), 20, "uuid", np.random.default_rng(0))
    assert tuple(v for k, v in found.pairs if "*" in k) == found.answers
    assert all(re.fullmatch(r"[0-9a-f*-]{36}", k) for k, _ in found.pairs)


def test_an_oracle_scores_all_and_a_guesser_nothing() -> None:
    task, questions = needles()
    assert {q.tags["kind"] for q in questions} == set(KINDS)
    for question in questions:
        scored = said(task, question, solved(question.prompt))
        assert values(scored) == {"exact_match": 1, "f1": 1}
        assert scored.facts["characters"] == len(question.prompt)
        assert scored.facts["output"].strip() == question.answers[0].strip()
        assert values(said(task, question, ' "1", "2"')) == {"exact_match": 0, "f1": 0}


def test_any_value_of_the_haystack_is_right_as_often_as_there_are_values() -> None:
    task, questions = needles(kinds=("single",), repeats=100)
    dice, hits, pairs = np.random.default_rng(0), [], []
    for question in questions:
        found = re.findall(r'": "(\d+)"', question.prompt)
        hits.append(task.grade(f' "{dice.choice(found)}"', question)["exact_match"])
        pairs.append(1 / len(found))
    assert np.mean(hits) == pytest.approx(np.mean(pairs), abs=0.06)


def test_order_counts_where_keys_have_one() -> None:
    task, questions = needles(kinds=("multiple", "conditional"))
    for question in questions:
        values_ = re.findall(r"\d+", question.answers[0])
        turned = task.grade(", ".join(values_[::-1]), question)
        assert turned == {"exact_match": question.tags["kind"] == "conditional", "f1": 1}
        assert task.grade(values_[0], question)["f1"] == pytest.approx(2 * 1 / (1 + 3))


def test_tags_say_what_is_hidden_and_the_haystack_fills_its_length() -> None:
    _, questions = needles(lengths=(5.0, 10.0), depths=(0.0, 1.0))
    assert {q.tags["depth"] for q in questions if q.tags["kind"] == "single"} == {0.0, 1.0}
    for kind in KINDS:
        short, long = (
            np.mean([q.facts["pairs"] for q in questions if q.tags["kind"] == kind and q.tags["length"] == length])
            for length in (640, 1280)
        )
        assert long > 1.8 * short


def test_a_length_without_room_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"64 tokens have no room for the kind single, which takes \d+"):
        make("needle-threading", lengths=(0.5,)).questions(source(), lm())


@pytest.mark.parametrize(
    ("knobs", "said_"),
    [
        ({"kinds": ("loud",)}, "kinds are single"),
        ({"depths": (2.0,)}, "depths are numbers from 0 to 1"),
        ({"thread_lengths": (1,)}, "thread_lengths are whole"),
        ({"num_threads": ()}, "num_threads are whole"),
        ({"directions": ("up",)}, "directions are forward"),
        ({"form": "words"}, "form"),
    ],
)
def test_knobs_are_checked(knobs: dict[str, object], said_: str) -> None:
    with pytest.raises(RecipeError, match=said_):
        make("needle-threading", **knobs)


def test_lengths_are_positive() -> None:
    with pytest.raises(RecipeError, match="lengths are positive"):
        make("needle-threading", lengths=(0.0,)).questions(source(), lm())


def test_effective_length_by_hand() -> None:
    assert effective_length([1000, 2000], [1.0, 0.5], 0.75) == 1500
    assert effective_length([2000, 1000], [0.5, 1.0], 0.75) == 1500, "in any order"
    assert effective_length([1000, 2000], [0.5, 1.0], 0.75) == 0, "the shortest already fails"
    assert effective_length([1000, 2000, 4000], [0.9, 0.8, 0.75], 0.75) == 4000, "never fails"
    assert effective_length([1000, 2000, 3000], [1.0, 0.25, 1.0], 0.75) == pytest.approx(1000 + 1000 / 3)
