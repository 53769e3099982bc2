"""Sets that users bring: what is wrong is named by file and line, and a file that changes is measured again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import zstandard

from paretolm.bench.plan import still_true
from paretolm.bench.workers.facts import task_facts
from paretolm.errors import TextError
from paretolm.evaluation.tasks import make, names
from tests.evaluation import sets
from tests.evaluation.judging import lm, source

GOOD = {"id": "a", "question": "Q", "choices": ["x", "y"], "answer": 0}


@pytest.mark.parametrize("name", [n for n in names() if n not in sets.WITHOUT_A_PATH])
def test_without_a_path_a_task_says_where_its_data_is(name: str) -> None:
    with pytest.raises(TextError, match=rf"^{name} has no data of its own: give {name}\(path=.*lines have .*\(from "):
        make(name).items(source(), lm())


@pytest.mark.parametrize(
    ("name", "line", "told"),
    [
        ("arc-easy", "{", "line 2 is not JSON"),
        ("arc-easy", "[]", "line 2 is not a JSON object"),
        ("arc-easy", '{"id": "b"}', "line 2 has no field choices, only id"),
        ("arc-easy", json.dumps(GOOD), "line 2 has the id 'a' of line 1"),
        ("arc-easy", json.dumps(GOOD | {"id": "b", "answer": 2}), "line 2: answer must be a whole number from 0 to 1"),
        ("arc-easy", json.dumps(GOOD | {"id": "b", "answer": True}), "line 2: answer must be a whole number"),
        ("arc-easy", json.dumps(GOOD | {"id": "b", "choices": ["x"]}), "line 2: choices must be a list of 2 or more"),
        ("arc-easy", json.dumps(GOOD | {"id": "b", "question": " "}), 'line 2: question must be text, not " "'),
        ("piqa", json.dumps(GOOD | {"id": "b", "choices": ["x", "river " * 300]}), "line 2: what follows the context"),
        (
            "winogrande",
            json.dumps(GOOD | {"id": "b"}),
            "line 2: question must be a sentence that goes on after a blank",
        ),
        ("mmlu", json.dumps(GOOD | {"id": "b", "subject": "law"}), "line 2: choices must be a list of 4"),
        ("squad", json.dumps({"context": "c", "questions": ["q"], "answers": ["a"]}), "line 2: answers must be a list"),
    ],
)
def test_a_wrong_line_is_named(name: str, line: str, told: str, tmp_path: Path) -> None:
    first = {
        "winogrande": GOOD | {"question": "As _ was late."},
        "mmlu": GOOD | {"subject": "law", "choices": ["w", "x", "y", "z"]},
        "squad": {"context": "c", "questions": ["q"], "answers": [["a"]]},
    }
    file = tmp_path / "set.jsonl"
    file.write_text(f"{json.dumps(first.get(name, GOOD))}\n{line}\n")
    with pytest.raises(TextError, match=r"set\.jsonl " + told.replace("(", r"\(")):
        make(name, path=str(file)).items(source(), lm())


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"there is no file .*test\.jsonl; give openbookqa\(path="):
        make("openbookqa", path=str(tmp_path)).items(source(), lm())
    (tmp_path / "test.jsonl").write_text("\n")
    with pytest.raises(TextError, match=r"test\.jsonl holds no items"):
        make("openbookqa", path=str(tmp_path)).items(source(), lm())


def test_examples_that_are_missing_are_named(tmp_path: Path) -> None:
    for name, told in (("mmlu", "mmlu looks for dev.jsonl"), ("gsm8k", "gsm8k looks for train.jsonl")):
        to = sets.folder(name, tmp_path / name)
        with pytest.raises(TextError, match=told):
            make(name, path=str(to), num_fewshot=1, **sets.ROOM.get(name, {})).items(source(), lm())
    sets.write(tmp_path / "mmlu" / "dev.jsonl", [{"subject": "law"}])
    with pytest.raises(TextError, match=r"line 1: dev\.jsonl has 0 of 1 examples of world_religions"):
        make("mmlu", path=str(tmp_path / "mmlu"), num_fewshot=1).items(source(), lm())


def test_a_packed_file_holds_the_same_items(tmp_path: Path) -> None:
    plain = sets.folder("arc-easy", tmp_path / "a")
    packed = tmp_path / "b" / "test.jsonl.zst"
    packed.parent.mkdir()
    packed.write_bytes(zstandard.ZstdCompressor().compress((plain / "test.jsonl").read_bytes()))
    for place in (packed, packed.parent):
        found = make("arc-easy", path=str(place)).items(source(), lm())
        assert [i.id for i in found] == [i.id for i in make("arc-easy", path=str(plain)).items(source(), lm())]


def test_a_limit_draws_by_seed_and_keeps_the_order(tmp_path: Path) -> None:
    place = str(sets.folder("arc-easy", tmp_path, 50))
    whole = [i.id for i in make("arc-easy", path=place).items(source(), lm())]
    drawn = [[i.id for i in make("arc-easy", path=place, limit=9, seed=s).items(source(), lm())] for s in (0, 1, 0)]
    assert drawn[0] == drawn[2] != drawn[1]
    assert all(len(d) == 9 and d == [i for i in whole if i in d] for d in drawn)


def test_a_set_that_changed_is_measured_again(tmp_path: Path) -> None:
    file = sets.folder("blimp", tmp_path) / "pairs.jsonl"
    facts = task_facts(lm(), f'blimp(path="{tmp_path}")', source(), 0, None)
    assert facts["num_items"] == facts["num_documents"] == 12
    assert {str(file), str(tmp_path / "paradigms.jsonl")} <= set(facts["code"])
    assert still_true(facts)
    file.write_text(file.read_text().replace("lamps is", "lamps was"))
    assert not still_true(facts)


def test_facts_of_a_task_without_data_say_what_is_missing() -> None:
    assert "give piqa(path=...)" in task_facts(lm(), "piqa", source(), 0, None)["error"]["message"]
