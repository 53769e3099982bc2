"""Perplexity in disjoint windows: windows by hand, known answers, plain forwards; other publishers' columns."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paretolm.contracts import Slot
from paretolm.errors import RecipeError
from paretolm.evaluation._files import Raw
from paretolm.evaluation.metrics.likelihood import token_nll
from paretolm.evaluation.source import TextSource
from paretolm.evaluation.summary import summarise
from paretolm.evaluation.task import Item
from paretolm.evaluation.tasks import make
from paretolm.evaluation.tasks._layouts import ours
from paretolm.evaluation.tasks._rolling import windows, words
from tests.evaluation.judging import fake_run, judge, lm, source, tokenizer


def test_windows_by_hand() -> None:
    assert list(windows(3, 4)) == [(0, 1, 4)]
    assert list(windows(8, 4)) == [(0, 1, 5), (4, 5, 9)]
    assert list(windows(6, 4)) == [(0, 1, 5), (2, 5, 7)], "the last is filled up with what stands before it"
    assert list(windows(6, 4, context=3)) == [(0, 1, 5), (2, 5, 7)]
    assert list(windows(7, 4, context=3)) == [(0, 1, 5), (2, 5, 7), (3, 7, 8)]
    assert list(windows(0, 4)) == []


@given(st.integers(1, 200), st.integers(2, 40), st.data())
def test_every_token_is_scored_once_after_something(count: int, length: int, data: st.DataObject) -> None:
    context = data.draw(st.integers(1, length - 1))
    found = list(windows(count, length, context))
    assert [i for _, first, stop in found for i in range(first, stop)] == list(range(1, count + 1))
    assert all(start < first and stop - 1 - start <= length for start, first, stop in found)
    assert all(first - start >= context for start, first, _ in found[1:])


def test_words_are_what_stands_between_white_space() -> None:
    assert [words(t) for t in ("a b\n c", "one", " two ")] == [3, 1, 3]


def text_of(*texts: str) -> TextSource:
    """Documents to judge beside enough others that none is cut into sections."""
    others = [Raw(f"other-{i}", f"Other {i}.", "", split="fit") for i in range(20)]
    return TextSource.of([*(Raw(f"d{i}", t, "", split="eval") for i, t in enumerate(texts)), *others], "text")


def opened(*texts: str, **knobs: object) -> tuple[object, list[Item]]:
    task = make("rolling-perplexity", **knobs)
    return task, task.items(text_of(*texts), lm())


def test_a_uniform_model_costs_the_logarithm_of_its_vocabulary() -> None:
    text = "The river and the café by the old bridge. " * 12
    task, items = opened(text, length=32)
    count = len(tokenizer()(text)["input_ids"])
    rows = [r for i in items for r in task.score(fake_run(i, lambda ids: torch.zeros(400)), i, None).rows]
    found = {s.metric: s.mean for s in summarise({"dense": rows}, "dense")}
    assert len(items) == math.ceil(count / 32)
    assert found["bits_per_byte"] == pytest.approx(count * math.log2(400) / len(text.encode()), rel=1e-5)
    assert found["word_perplexity"] == pytest.approx(400 ** (count / words(text)), rel=1e-4)
    assert found["byte_perplexity"] == pytest.approx(2 ** found["bits_per_byte"], rel=1e-6)


def test_an_oracle_has_perplexity_one() -> None:
    task, items = opened("stone lamp window " * 30, length=16)
    for item in items:
        ids = item.data["ids"][0]
        run = fake_run(item, lambda seen, ids=ids: torch.nn.functional.one_hot(ids[len(seen)], 400) * 50.0)
        assert all(abs(r.value) < 1e-6 for r in task.score(run, item, None).rows)


@pytest.mark.parametrize("context", [1, 5])
def test_windows_are_read_as_one_plain_forward_each(context: int) -> None:
    text = "silver morning letter road music " * 20
    task, items = opened(text, length=24, context=context)
    rows = [r for r in judge(task, "dense", items, chunk=7)[0] if r.metric == "bits_per_byte"]
    ids = torch.tensor([[0, *tokenizer()(text)["input_ids"]]])
    total = 0.0
    for start, first, stop in windows(ids.shape[1] - 1, 24, context):
        with torch.no_grad():
            logits = lm().model(ids[:, start : stop - 1]).logits[0, first - start - 1 :]
        total += float(token_nll(logits, ids[0, first:stop]).double().sum())
    assert sum(r.value * r.weight for r in rows) == pytest.approx(total / math.log(2), rel=1e-5)
    assert sum(r.weight for r in rows) == pytest.approx(len(text.encode()))
    assert all(task.tokens(i) <= 25 for i in items)


def test_documents_are_clusters_drawn_by_seed() -> None:
    task = make("rolling-perplexity", limit=5, length=64)
    items = task.items(source(), lm())
    assert len({i.doc for i in items}) == 5
    assert {i.doc for i in make("rolling-perplexity", limit=5, length=64, seed=1).items(source(), lm())} != {
        i.doc for i in items
    }
    assert not task.visible(frozenset({Slot.TOKENS}))
    with pytest.raises(RecipeError, match="context=64 leaves nothing to score in windows of 64"):
        make("rolling-perplexity", length=64, context=64).items(source(), lm())


LETTERED = {"choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B"}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (LETTERED | {"question": "Q"}, {"question": "Q", "choices": ["x", "y"], "answer": 1}),
        (LETTERED | {"question_stem": "Q"}, {"question": "Q", "choices": ["x", "y"], "answer": 1}),
        ({"goal": "G", "sol1": "a", "sol2": "b", "label": 1}, {"question": "G", "choices": ["a", "b"], "answer": 1}),
        (
            {"activity_label": "A", "ctx_a": "He sat.", "ctx_b": "then He", "endings": ["e", "f"], "label": "1"},
            {"activity": "A", "context": "He sat. Then he", "choices": ["e", "f"], "answer": 1},
        ),
        (
            {"sentence": "As _ left.", "option1": "Ben", "option2": "Sam", "answer": "2"},
            {"question": "As _ left.", "choices": ["Ben", "Sam"], "answer": 1},
        ),
        (
            {"sentence_good": "g", "sentence_bad": "b", "UID": "u"},
            {"good": "g", "bad": "b", "paradigm": "u"},
        ),
        ({"text": "to the end"}, {"context": "to the", "target": "end"}),
        ({"question": "Q", "answer": "So\n#### 1,000"}, {"solution": "So", "answer": "1,000"}),
        (
            {"context": "C", "question": "Q", "answers": {"text": ["a"], "answer_start": [0]}},
            {"questions": ["Q"], "answers": [["a"]]},
        ),
    ],
)
def test_columns_of_publishers_become_our_fields(given: dict, found: dict) -> None:
    assert {k: ours(given)[k] for k in found} == found


@pytest.mark.parametrize(
    "line",
    [
        {"question": "Q", "choices": ["x", "y"], "answer": 1},
        {"question": "Q", "answer": "12"},
        {"text": "t", "label": 3},
        {"context": "C", "questions": ["Q"], "answers": [["a"]]},
        {"question": "Q", "choices": ["x"], "answerKey": "A"},
        {},
    ],
)
def test_other_lines_stay_as_they_are(line: dict) -> None:
    assert ours(line) == line
