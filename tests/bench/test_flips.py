"""Cells of a real comparison: changing one thing on the disk measures again what depends on it, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from paretolm.bench import desk, plan
from paretolm.bench.cluster import staff
from paretolm.bench.compare import compare
from paretolm.bench.records import keys
from paretolm.bench.records.store import Store
from paretolm.bench.workers import facts
from paretolm.recipes import index
from paretolm.recipes.index import Index
from tests.bench.made import InlineCrew

QUESTIONS = [{"question": f"Where is {w}?", "choices": ["the river", "a garden"], "answer": 0} for w in ("A", "B", "C")]
METHOD = """
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from paretolm.contracts import WHOLE, Edit, Method, ModelView, Slot, knob


@dataclass(frozen=True, kw_only=True)
class Cooler(Method):
    papers: ClassVar[tuple[str, ...]] = ("0000.00000",)
    by: float = knob(0.5)

    def plan(self, view: ModelView) -> Iterable[Edit]:
        yield Edit(Slot.LOGITS, WHOLE, self._make)

    def _make(self, ctx):
        def scaled(ids: Tensor, hidden: Tensor, logits: Tensor) -> Tensor:
            ctx.count("scaled")
            return logits * self.by

        return scaled
"""
RECIPES = ("cooler", "dense")
TASKS = ("perplexity", "arc-easy")


class Place:
    """A model, a text, a set of questions and a shelf of methods, all of which may be changed."""

    def __init__(self, root: Path, model: Path, text: Path) -> None:
        self.model, self.text, self.output = root / "model", root / "text.jsonl", root / "out"
        self.set, self.method = root / "questions.jsonl", root / "flipped" / "logits" / "cooler.py"
        shutil.copytree(model, self.model)
        shutil.copy(text, self.text)
        self.set.write_text("\n".join(map(json.dumps, QUESTIONS)))
        self.method.parent.mkdir(parents=True)
        self.method.write_text(METHOD)
        self.asked: dict[str, Any] = {
            "model": str(self.model),
            "recipes": ["cooler"],
            "tasks": ["perplexity(length=48, streams=2, audit=0)", f"arc-easy(path={self.set})"],
            "text": str(self.text),
            "output": self.output,
            "threads": 1,
        }

    def measured(self) -> set[tuple[str, str]]:
        """(recipe, task) of the cells that a call now measures; those it finds in the store are left out."""
        keys.file_hash.cache_clear()  # as in a new process
        before = self._finished()
        compare(**self.asked)
        with Store(self.output / "results.sqlite") as store:
            found = store.cells(sorted(self._finished() - before)).values()
            return {(str(r.meta["recipe"]).partition("(")[0], str(r.meta["task"]).partition("(")[0]) for r in found}

    def _finished(self) -> set[str]:
        if not self.output.exists():
            return set()
        with Store(self.output / "results.sqlite") as store:
            return {key for (key,) in store._db.execute("SELECT key FROM cells WHERE state = 'done'")}


EVERYTHING = {(r, t) for r in RECIPES for t in TASKS}


@pytest.fixture(scope="module")
def place(model: Path, text: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Everything is measured once."""
    made = Place(tmp_path_factory.mktemp("flips"), model, text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staff, "Crew", InlineCrew)
        patch.syspath_prepend(str(made.method.parents[2]))
        found = Index(made.method.parents[1], "flipped")
        patch.setattr(index, "own", lambda: found)
        assert made.measured() == EVERYTHING
        yield made
    keys.file_hash.cache_clear()


def edit_tokenizer(place: Place) -> None:
    file = place.model / "tokenizer.json"
    facts = json.loads(file.read_text())
    facts["model"]["merges"].pop()
    file.write_text(json.dumps(facts))


def edit_template(place: Place) -> None:
    (place.model / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")


def edit_weight(place: Place) -> None:
    file = place.model / "model.safetensors"
    tensors = {name: np.array(value) for name, value in load_file(file).items()}
    tensors["model.layers.0.mlp.up_proj.weight"][0, 0] += 0.25
    save_file(tensors, file, metadata={"format": "pt"})


def edit_text(place: Place) -> None:
    lines = place.text.read_text().splitlines()
    place.text.write_text("\n".join([lines[0].replace("river", "rivers"), *lines[1:]]))


def edit_set(place: Place) -> None:
    place.set.write_text(place.set.read_text().replace("a garden", "a park"))


def edit_method(place: Place) -> None:
    place.method.write_text(place.method.read_text().replace("logits * self.by", "logits * self.by * 1.0"))


COOLED = {("cooler", task) for task in TASKS}
ASKED = {(recipe, "arc-easy") for recipe in RECIPES}


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (edit_tokenizer, EVERYTHING),
        (edit_template, EVERYTHING),
        (edit_weight, EVERYTHING),
        (edit_text, EVERYTHING),
        (edit_set, ASKED),
        (edit_method, COOLED),
    ],
)
def test_what_was_edited_is_measured_again_and_only_that(
    place: Place, change: Callable[[Place], None], again: set[tuple[str, str]]
) -> None:
    change(place)
    assert place.measured() == again
    assert place.measured() == set()


@pytest.mark.parametrize(
    ("asked", "again"),
    [
        ({"dtype": "float32"}, set()),
        ({"dtype": "auto"}, set()),
        ({"dtype": "fp32"}, set()),
        ({"dtype": "bfloat16"}, EVERYTHING),
        ({"attention": "sdpa"}, set()),
        ({"attention": "eager"}, EVERYTHING),
        ({"device": "cpu"}, set()),
        ({"recipes": ["  cooler( by = 0.5 )"]}, set()),
        ({"recipes": ["cooler(by=0.25)"]}, COOLED),
        ({"seed": 1}, EVERYTHING),
        ({"chunk": 5}, EVERYTHING),
        ({"limit": 1}, EVERYTHING),
        ({"threads": 2}, set()),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "again",
)
def test_what_is_asked_otherwise_is_measured_again_and_only_that(
    place: Place, asked: dict[str, Any], again: set[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "asked", place.asked | asked)
    assert place.measured() == again
    assert place.measured() == set()


@pytest.mark.parametrize(
    ("target", "name", "value"),
    [
        (keys, "library_versions", lambda: {"torch": "9.9"}),
        (keys, "shared_code", lambda kind="quality": "another version"),
    ],
)
def test_other_libraries_and_other_code_measure_everything_again(
    place: Place, target: Any, name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (target, desk, plan):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, value)
    assert place.measured() == EVERYTHING
    assert place.measured() == set()


def test_another_version_of_a_task_measures_it_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    original = facts.task_facts

    def newer(*args: Any) -> dict[str, Any]:
        found = original(*args)
        return {**found, "version": "9"} if found["name"] == "arc-easy" else found

    monkeypatch.setattr(facts, "task_facts", newer)
    monkeypatch.setattr(desk.Desk, "_recall", lambda self, key: None)
    assert place.measured() == ASKED
    assert place.measured() == set()
