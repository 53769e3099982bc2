"""Nothing measured is taken for something else: a change of anything that counts is a miss, in a real directory.

What the fields of a key are stands in tests/bench/test_keys.py; here files are changed and calls are asked otherwise.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from paretolm.bench import compare, desk
from paretolm.bench.desk import Desk, Request
from paretolm.bench.progress import Progress
from paretolm.bench.records import keys
from paretolm.bench.records.store import Store
from tests.bench.made import InlineCrew
from tests.evaluation import judging

TASK = "perplexity(length=64, streams=6, audit=0)"
RECIPE = "window(window=16)"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and a text; not to be changed."""
    place = tmp_path_factory.mktemp("place")
    judging.save(place / "model")
    documents = [{"id": f"d{i}", "text": judging.document(i, 20)} for i in range(24)]
    (place / "text.jsonl").write_text("\n".join(map(json.dumps, documents)), encoding="utf-8")
    return place


@pytest.fixture
def mine(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Path(shutil.copytree(place, tmp_path / "place"))


def planned(mine: Path, **changes: Any) -> set[str]:
    """The keys of a call's cells."""
    asked = {"recipes": (RECIPE,), "tasks": (TASK,), "text": str(mine / "text.jsonl"), "threads": 1, **changes}
    request = Request(model=str(mine / "model"), output=mine / "out", **asked)
    with Store(request.store_path) as store:
        work = Desk(request, store, Progress())
        work.crew = InlineCrew(1, 1, request.opening, lambda _: None)  # type: ignore[assignment]
        try:
            return {cell.key for cell in compare._plan(work).cells if cell.key}
        finally:
            work.close()


def change_json(name: str, **facts: Any) -> Callable[[Path], None]:
    def change(mine: Path) -> None:
        path = mine / "model" / name
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        path.write_text(json.dumps({**known, **facts}), encoding="utf-8")

    return change


def change_weight(mine: Path) -> None:
    path = mine / "model" / "model.safetensors"
    tensors = load_file(path)
    tensors["model.norm.weight"][3] += 2**-10
    save_file(tensors, path, {"format": "pt"})


def change_text(mine: Path) -> None:
    path = mine / "text.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("Document 3.", "Document 3!"), encoding="utf-8")


def add_template(mine: Path) -> None:
    (mine / "model" / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")


FILES = {
    "one weight": change_weight,
    "the config": change_json("config.json", rms_norm_eps=1e-5),
    "generation arguments": change_json("generation_config.json", repetition_penalty=1.5),
    "the tokenizer's settings": change_json("tokenizer_config.json", clean_up_tokenization_spaces=True),
    "the chat template": add_template,
    "the text": change_text,
}
ASKED = {
    "dtype": {"dtype": "bfloat16"},
    "attention": {"attention": "eager"},
    "seed": {"seed": 1},
    "chunk": {"chunk": 8},
    "limit": {"limit": 3},
    "a knob of the task": {"tasks": (TASK.replace("6", "5", 1),)},
}


@pytest.mark.parametrize("what", FILES)
def test_a_changed_file_is_a_miss(mine: Path, what: str) -> None:
    before = planned(mine)
    assert planned(mine) == before, "the same call is a hit"
    FILES[what](mine)
    assert planned(mine).isdisjoint(before)


@pytest.mark.parametrize("what", ASKED)
def test_another_request_is_a_miss(mine: Path, what: str) -> None:
    assert planned(mine, **ASKED[what]).isdisjoint(planned(mine))


def test_another_recipe_misses_for_itself_alone(mine: Path) -> None:
    before, after = planned(mine), planned(mine, recipes=("window(window=17)",))
    assert len(before & after) == 1, "the untouched model's"
    assert planned(mine, recipes=(" window( window = 16 )",)) == before, "spelling does not count"


def test_a_second_revision_of_a_model_is_a_miss_and_a_copy_is_a_hit(mine: Path) -> None:
    """A revision of a hub is a directory of its own; what is in it counts, not where it lies."""
    before = planned(mine)
    shutil.copytree(mine / "model", mine / "other")
    assert planned(mine, text=str(mine / "text.jsonl")) == before
    shutil.rmtree(mine / "model")
    shutil.copytree(mine / "other", mine / "model")
    assert planned(mine) == before
    change_weight(mine)
    assert planned(mine).isdisjoint(before)


@pytest.mark.parametrize("library", ["torch", "transformers", "tokenizers", "numpy"])
def test_another_version_of_a_library_is_a_miss(mine: Path, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = planned(mine)
    monkeypatch.setattr(desk, "library_versions", lambda: {**keys.library_versions(), library: "99"})
    assert planned(mine).isdisjoint(before)


def test_other_code_of_a_method_is_a_miss_for_its_recipes_alone(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, hashed = planned(mine), keys.file_hash

    def other(path: Path) -> str:
        return "0" * 64 if path.name == "window.py" else hashed(path)

    monkeypatch.setattr(keys, "file_hash", other)
    assert len(planned(mine) & before) == 1


def test_another_device_is_a_miss(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = planned(mine)
    monkeypatch.setattr(desk, "device_kind", lambda device: ("cuda", "NVIDIA H200"))
    assert planned(mine).isdisjoint(before)


def test_the_tokenizers_words_are_a_miss(mine: Path) -> None:
    before = planned(mine)
    judging.tokenizer.__wrapped__(300).save_pretrained(mine / "model")
    assert planned(mine).isdisjoint(before)
