"""Questions for many models: from a text, from a file, and what a model makes of their choices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from paretolm.errors import TextError
from paretolm.evaluation.tasks._lm_eval import pair_ids
from paretolm.studies import _questions as q
from tests.evaluation import judging


def prose(number: int) -> str:
    words = [f"Word{number}x{i}" for i in range(600)]
    return ". ".join(" ".join(words[i : i + 14]) for i in range(0, 600, 14)) + "."


def made(count: int = 20, seed: int = 0) -> list[q.Question]:
    return q.from_text(
        judging.TextSource.of([judging.Raw(f"d{i}", prose(i), "") for i in range(25)], "prose"), count, seed
    )


def test_a_passage_goes_on_with_its_own_words() -> None:
    found = made()
    assert len(found) == 20
    for each in found:
        number = each.doc[1:]
        assert f"Word{number}x" in each.choices[each.answer]
        assert len(set(each.choices)) == 4
        last, first = each.context.split()[-1].rstrip("."), each.choices[each.answer].split()[0]
        assert int(first.partition("x")[2]) == int(last.partition("x")[2]) + 1, "what follows is what is asked for"
    assert {each.answer for each in found} == {0, 1, 2, 3}


def test_the_same_seed_asks_the_same() -> None:
    assert made() == made()
    assert made() != made(seed=1)


def test_a_text_without_passages_is_refused() -> None:
    with pytest.raises(TextError, match="no passages to ask about"):
        q.from_text(judging.TextSource.of([judging.Raw("a", "Short. Text.", "")], "a"), 5, 0)


def test_sets_of_choices_and_of_pairs(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(json.dumps({"id": "a", "question": "Q?", "choices": ["x", "y"], "answer": 1}))
    assert q.from_file(str(tmp_path), None, 0) == [q.Question("a", "a", "Q?", ("x", "y"), 1)]
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"id": "p", "good": "He runs.", "bad": "He run."}))
    assert q.from_file(str(tmp_path), None, 0) == [q.Question("p", "p", "", ("He runs.", "He run."), 0)]
    with pytest.raises(TextError, match="there is no file"):
        q.from_file(str(tmp_path / "none"), None, 0)


def test_forms_of_a_question() -> None:
    asked = q.Question("a", "a", "Which?", ("one", "two"), 0)
    assert q.pairs(asked, "cloze") == [("Which?", " one"), ("Which?", " two")]
    assert q.pairs(asked, "letters") == [
        ("Which?\nA. one\nB. two\nAnswer:", " A"),
        ("Which?\nA. one\nB. two\nAnswer:", " B"),
    ]


def test_scores_of_choices() -> None:
    asked = q.Question("a", "a", "", ("aa", "aaaa"), 1)
    lls = np.log(np.array([0.3, 0.1]))
    assert q.right(asked, lls) == 0.0
    assert q.right(asked, q.per_byte(asked, lls)) == 1.0, "log 0.1 / 4 is more than log 0.3 / 2"
    assert q.probability(asked, lls) == pytest.approx(0.25)
    assert q.right(asked, np.array([1.0, 1.0])) == 0.0, "of equal ones the first is taken"


@pytest.mark.parametrize("form", ["cloze", "letters"])
def test_likelihoods_are_those_of_one_forward_a_choice(form: q.Form) -> None:
    lm = judging.lm()
    asked = [
        q.Question(str(i), "d", judging.document(i, 1 + i % 3), ("some words", "a longer ending of words", "w"), 0)
        for i in range(14)
    ]
    found = q.log_likelihoods(lm, asked, form)
    assert [len(x) for x in found] == [3] * 14
    for each, lls in zip(asked, found, strict=True):
        for pair, given in zip(q.pairs(each, form), lls, strict=True):
            before, after = pair_ids(lm.tokenizer, *pair)
            before = before[-(lm.view.trained_length - len(after)) :]
            with torch.inference_mode():
                logits = lm.model(torch.tensor([before + after])).logits[0].log_softmax(-1)
            own = logits[len(before) - 1 : -1].gather(1, torch.tensor(after)[:, None])
            assert given == pytest.approx(float(own.sum()), abs=1e-4)
