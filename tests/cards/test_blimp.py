"""BLiMP: batched scores against unbatched ones, accuracy on pairs whose answer is known, files that are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from paretolm.cards.blimp import Pair, blimp, likelihoods, open_pairs
from paretolm.errors import TextError
from tests.evaluation import judging

SENTENCES = ["The river.", "A silver lamp stands in the garden by the road.", "Music", "Winter morning, paper letter."]


def unbatched(sentence: str) -> float:
    ids = torch.tensor([[0, *judging.tokenizer()(sentence)["input_ids"]]])
    with torch.no_grad():
        logs = judging.lm().model(ids).logits[0].double().log_softmax(-1)
    return sum(float(logs[i, token]) for i, token in enumerate(ids[0, 1:].tolist()))


def test_batched_scores_are_those_of_each_sentence_alone() -> None:
    found = likelihoods(judging.lm(), SENTENCES)
    assert found == pytest.approx([unbatched(s) for s in SENTENCES], rel=1e-5)


def test_accuracy_by_phenomenon_and_equal_ones_are_wrong() -> None:
    more, less = sorted(SENTENCES, key=unbatched)[::-3]
    pairs = [
        Pair("p", "agreement", more, less),
        Pair("q", "islands", less, more),
        Pair("q", "islands", more, less),
        Pair("r", "islands", more, more),
    ]
    found = blimp(judging.lm(), pairs)
    assert (found["value"], found["trials"]) == (0.5, 4)
    assert {k: (v["value"], v["trials"]) for k, v in found["by_phenomenon"].items()} == {
        "agreement": (1.0, 1),
        "islands": (pytest.approx(1 / 3), 3),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pairs = [{"paradigm": p, "good": f"{p} good {i}", "bad": "bad"} for p in ("one", "two") for i in range(9)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    paradigms = [{"paradigm": "one", "phenomenon": "x"}, {"paradigm": "two", "phenomenon": "y"}]
    (tmp_path / "paradigms.jsonl").write_text("\n".join(map(json.dumps, paradigms)))
    return tmp_path


def test_so_many_pairs_of_each_paradigm_and_the_same_for_the_same_seed(folder: Path) -> None:
    found = open_pairs(folder, 4)
    assert [(p.paradigm, p.phenomenon) for p in found] == [("one", "x")] * 4 + [("two", "y")] * 4
    assert len({p.good for p in found}) == 8
    assert found == open_pairs(folder / "pairs.jsonl", 4) != open_pairs(folder, 4, seed=1)
    assert len(open_pairs(folder, 100)) == 18


@pytest.mark.parametrize(
    ("file", "line", "told"),
    [
        ("pairs.jsonl", "{", "line 1 is not JSON"),
        ("pairs.jsonl", '{"paradigm": "one", "good": "a"}', "line 1 has no field bad, only good, paradigm"),
        ("pairs.jsonl", '{"paradigm": "six", "good": "a", "bad": "b"}', "'six' that paradigms.jsonl"),
        ("pairs.jsonl", "", "holds no items"),
        ("paradigms.jsonl", '{"paradigm": "one"}', "line 1 has no field phenomenon"),
    ],
)
def test_a_file_that_is_wrong_says_where(folder: Path, file: str, line: str, told: str) -> None:
    (folder / file).write_text(line)
    with pytest.raises(TextError, match=told):
        open_pairs(folder, 1)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"there is no file .*paradigms\.jsonl"):
        open_pairs(tmp_path, 1)
