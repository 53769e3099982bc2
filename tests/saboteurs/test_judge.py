"""The judge's own checks, in comparisons from end to end: silent on the judge, loud on each of its wrong twins."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from paretolm.bench.cluster import staff
from paretolm.bench.compare import compare
from paretolm.bench.records.origin import audit_memo
from paretolm.bench.records.store import Store
from paretolm.bench.report.table import remarks, status
from paretolm.bench.results.types import CellResult, Comparison
from paretolm.recipes import index
from paretolm.recipes.index import Index
from tests.bench.made import InlineCrew
from tests.evaluation import judging

from . import judge as bad

RECIPES = ["window(window=4)", "snapkv(budget=25%, window_size=4)"]
READING, CHOOSING = "perplexity(length=48, streams=3, audit=0)", "arc-easy(path=questions.jsonl)"
CHOICES = ["the river", "a garden of silver lamps", "paper"]
QUESTIONS = [{"question": f"Where is {w}?", "choices": CHOICES, "answer": i % 3} for i, w in enumerate("ABCDEF")]
COUNTER = """
from dataclasses import dataclass, field
from typing import Any, ClassVar

from paretolm.contracts import Edit, Method, ModelView, Observe, Slot


@dataclass
class Part:
    ctx: Any
    observe: Observe = field(default_factory=Observe)

    def visible(self, query_positions, key_positions):
        self.ctx.count("tokens_evicted")

    def settle(self, held, observed, step):
        return None


@dataclass(frozen=True, kw_only=True)
class Boaster(Method):
    papers: ClassVar[tuple[str, ...]] = ("0000.00000",)

    def plan(self, view: ModelView):
        yield Edit(Slot.KEEP, view.full_layers, Part)
"""


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model, another one of the same shape, a text and questions, in the current directory; workers in this
    process."""
    made = tmp_path_factory.mktemp("judge")
    for name in ("model", "other"):
        judging.save(made / name)
    file = made / "other" / "model.safetensors"
    tensors = {name: np.array(value) for name, value in load_file(file).items()}
    tensors["model.layers.1.mlp.up_proj.weight"] *= 1.01
    save_file(tensors, file, metadata={"format": "pt"})
    documents = [{"id": f"d{i}", "text": judging.document(i, 30), "split": "eval"} for i in range(22)]
    (made / "text.jsonl").write_text("\n".join(map(json.dumps, documents)))
    (made / "questions.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS)))
    (made / "boasting" / "keep").mkdir(parents=True)
    (made / "boasting" / "keep" / "boaster.py").write_text(COUNTER)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        patch.setenv("XDG_CACHE_HOME", str(made / "cache"))
        patch.setattr(staff, "Crew", InlineCrew)
        yield made


def compared(output: Path, model: str = "model", **more: Any) -> Comparison:
    asked = {"recipes": RECIPES, "tasks": [READING, CHOOSING], "text": "text.jsonl", "threads": 1} | more
    return compare(model, output=output, **asked)


def cells(found: Comparison, task: str) -> dict[str, CellResult]:
    """Recipe -> its cell of a task."""
    return {r.typed: c for r in found.recipes for c in r.cells if c.task == task}


def test_the_judge_passes_its_own_checks(tmp_path: Path) -> None:
    found = compared(tmp_path)
    assert {(c.state, c.reason) for r in found.recipes for c in r.cells} == {("done", "")}
    assert all(r.ranked for r in found.recipes)
    with Store(tmp_path / "results.sqlite") as store:
        for recipe in found.recipes[1:]:
            for cell in recipe.cells:
                kept = store.recall(audit_memo(cell.key))
                assert kept is not None, "it was checked"
                assert kept["doubt"] == ""
                assert 1 <= len(kept["items"]) <= 4


SCORERS = [
    (bad.favours_recipes, "perplexity", "through a recipe that does nothing nll of stream-"),
    (bad.grades_the_first_choice_up, "arc-easy", "is likeliest by 1e-06 nats, another is taken"),
    (bad.reads_the_first_choice_kindly, "arc-easy", "with its choices in another order "),
    (bad.joins_by_place, "perplexity", "rows are not paired by item"),
    (bad.joins_what_is_there, "perplexity", "a recipe that lacks an item is compared"),
]


@pytest.mark.parametrize(("plant", "task", "said"), SCORERS, ids=[plant.__name__ for plant, *_ in SCORERS])
def test_a_wrong_scorer_or_join_makes_recipes_suspect(
    plant: Callable[[pytest.MonkeyPatch], None], task: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    found = compared(tmp_path, tasks=[READING if task == "perplexity" else CHOOSING])
    for name, cell in cells(found, task).items():
        if name == "dense":
            assert cell.state == "done"
            continue
        assert (cell.state, cell.metrics) == ("suspect", ())
        assert cell.reason.startswith("the judge failed its own check: ")
        assert said in cell.reason
    assert not [r for r in found.recipes if not r.is_dense and (r.ranked or r.on_frontier)]
    assert len(found.failures) == len(RECIPES), "scripts hear of it"
    assert status(found.recipes[1])[0] == "suspect"
    assert any(said in line for line in remarks(found))


READERS = [
    (bad.truncates_the_prompt, {"window(window=4)"}, "the prompt of stream-"),
    (bad.truncates_the_shared_prompt, {"dense", "snapkv(budget=25%, window_size=4)"}, "the prompt of stream-"),
    (bad.skips_tokens_under_a_recipe, set(RECIPES), "tokens under this recipe, but 47 under another"),
]


@pytest.mark.parametrize(("plant", "caught", "said"), READERS, ids=[plant.__name__ for plant, *_ in READERS])
def test_a_truncated_context_fails_the_cell(
    plant: Callable[[pytest.MonkeyPatch], None],
    caught: set[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)
    found = cells(compared(tmp_path, tasks=[READING]), "perplexity")
    failed = {name: cell for name, cell in found.items() if cell.state == "failed"}
    assert set(failed) == caught
    assert all(c.reason.startswith("the judge failed its own check: ") and said in c.reason for c in failed.values())


def test_a_recipe_that_was_not_applied_did_not_act(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad.forgets_to_apply(monkeypatch)
    found = compared(tmp_path, tasks=[READING])
    for name in RECIPES:
        cell = cells(found, "perplexity")[name]
        assert cell.state == "did not act"
        assert "every row is the untouched model's to the last bit" in cell.reason
    assert not any(r.ranked for r in found.recipes[1:])


def test_a_short_task_excuses_no_recipe_that_was_not_applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a window of 46 tokens is forgotten, it is missed on 48 tokens, and on questions of fewer as well."""
    question = {"subject": "places", "question": "Where?", "choices": ["here", "there"], "answer": 0}
    Path("short.jsonl").write_text("\n".join([json.dumps(question)] * 6))
    recipes, tasks = ["window(window=46)"], [READING, "closed-book(path=short.jsonl)"]
    honest = compared(tmp_path / "honest", recipes=recipes, tasks=tasks).recipes[1]
    assert [(c.state, c.short) for c in honest.cells] == [("done", False), ("did not act", True)]
    assert honest.ranked
    bad.forgets_to_apply(monkeypatch)
    recipe = compared(tmp_path, recipes=recipes, tasks=tasks).recipes[1]
    assert [(c.state, c.short) for c in recipe.cells] == [("did not act", False)] * 2
    assert (recipe.ranked, status(recipe)[0]) == (False, "did not act")


def test_a_method_that_counts_and_changes_nothing_did_not_act(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(place))
    shelf = Index(place / "boasting", "boasting")
    monkeypatch.setattr(index, "own", lambda: shelf)
    found = compared(tmp_path, tasks=[READING], recipes=["boaster"])
    assert found.recipe("boaster").acted["boaster"]["tokens_evicted"] > 0
    cell = cells(found, "perplexity")["boaster"]
    assert (cell.state, "whatever boaster counted" in cell.reason) == ("did not act", True)


def test_rows_of_another_model_are_seen_when_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad.forgets_the_model(monkeypatch)
    assert not compared(tmp_path, tasks=[READING]).failures
    found = compared(tmp_path, "other", tasks=[READING])
    assert found.reused == 3, "the store gave what it had"
    for cell in cells(found, "perplexity").values():
        assert cell.state == "suspect"
        assert "the rows in the store are of another model" in cell.reason


def test_rows_without_a_name_are_scored_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The untouched model's rows are the first model's; a recipe measured now is not set against them."""
    bad.forgets_the_model_and_its_name(monkeypatch)
    compared(tmp_path, tasks=[READING], recipes=RECIPES[:1])
    found = cells(compared(tmp_path, "other", tasks=[READING], recipes=RECIPES[1:]), "perplexity")
    assert found[RECIPES[1]].state == "suspect"
    assert "through a recipe that does nothing nll of stream-" in found[RECIPES[1]].reason


def test_two_models_in_one_store_are_kept_apart(tmp_path: Path) -> None:
    compared(tmp_path, tasks=[READING])
    found = compared(tmp_path, "other", tasks=[READING])
    assert (found.reused, found.failures) == (0, [])
