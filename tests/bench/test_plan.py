"""Which cells a comparison consists of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from paretolm.bench.plan import Cell, Table, default_recipes, default_tasks, make_cells, still_true, unseen_methods
from paretolm.bench.records.keys import Conditions
from paretolm.bench.workers.facts import model_facts, parse_task, recipe_facts, task_facts
from paretolm.bench.workers.process_cells import process_facts
from paretolm.bridge.content import content_hash
from paretolm.bridge.locate import locate
from paretolm.contracts import Edit, Method, ModelRef, ModelView, Slot, knob
from paretolm.errors import RecipeError
from paretolm.evaluation.task import IN_STREAM
from paretolm.recipes.recipe import Recipe
from tests.bench.made import conditions
from tests.contract.tiny import tiny

CONDITIONS = conditions()
STREAM = {
    "name": "perplexity",
    "line": "perplexity",
    "version": "1",
    "params": {"length": 64},
    "sees": [s.value for s in IN_STREAM],
    "code": {},
}
PARAMS = {"limit": None, "chunk": None}


def facts(**methods: list[str]) -> dict[str, Any]:
    line = " + ".join(methods) or "dense"
    return {"line": line, "hash": line, "methods": methods, "fits": [], "conflict": "", "code": {}, "models": {}}


def cells(
    recipes: dict[str, Any], tasks: dict[str, Any], conditions: Conditions = CONDITIONS
) -> dict[tuple[str, str], Cell]:
    return {(c.recipe, c.task): c for c in make_cells(conditions, recipes, tasks, PARAMS, "data")}


@pytest.mark.parametrize("trained", [64, 512, 4096, 131072])
def test_default_recipes_can_be_read_and_their_windows_scale(trained: int) -> None:
    recipes = [Recipe.parse(line) for line in default_recipes(trained)]
    assert len(recipes) == len({r.hash for r in recipes}) >= 8
    windows = [m.window for r in recipes for m in r.methods if hasattr(m, "window")]
    window = max(16, trained // 4)
    assert sorted(set(windows)) == [window, 2 * window], "twice as much where the newest entries stay exact"


def test_default_recipes_visit_every_family() -> None:
    view = tiny().view
    slots = {e.slot for line in default_recipes(128) for _, e in Recipe.parse(line).plan(view).pairs}
    assert {
        Slot.PROMPT,
        Slot.WEIGHTS,
        Slot.FREQUENCY,
        Slot.ATTEND,
        Slot.KEEP,
        Slot.STORE,
        Slot.DECODE,
        Slot.LOGITS,
    } <= slots


@pytest.mark.parametrize(
    ("trained", "rope", "lengths"), [(512, True, [512, 8192]), (512, False, [512]), (32768, True, [8192])]
)
def test_default_tasks_reach_beyond_the_trained_length_where_the_model_can(
    trained: int, rope: bool, lengths: list[int]
) -> None:
    lines = default_tasks(trained, rope)
    assert [parse_task(line, 0).length for line in lines if line.startswith("perplexity")] == lengths
    assert lines[-1] == "speed"


def test_a_task_that_cannot_see_a_recipe_has_no_cell_to_measure() -> None:
    found = cells({"dense": facts(), "t": facts(**{"token-recycling": ["decode"]})}, {"perplexity": STREAM})
    assert found["dense", "perplexity"].key
    blind = found["t", "perplexity"]
    assert (blind.key, blind.failed, blind.reason) == ("", False, "perplexity cannot see what acts on decode")


def test_a_recipe_seen_in_part_is_measured_and_says_what_is_not_seen() -> None:
    found = cells({"r": facts(**{"token-recycling": ["decode"], "h2o": ["keep"]})}, {"perplexity": STREAM})
    assert found["r", "perplexity"].key
    assert found["r", "perplexity"].unseen == ("token-recycling",)


def test_conflicts_and_texts_that_do_not_serve_are_failed_cells() -> None:
    stuck = {**facts(a=["keep"]), "conflict": "a and b want one place"}
    short = {"error": {"kind": "TextError", "message": "the text is too short"}}
    found = cells({"dense": facts(), "r": stuck}, {"perplexity": STREAM, "recall": short})
    assert {k: (c.failed, c.reason) for k, c in found.items() if not c.key} == {
        ("r", "perplexity"): (True, "a and b want one place"),
        ("dense", "recall"): (True, "the text is too short"),
        ("r", "recall"): (True, "the text is too short"),
    }


def test_speed_and_memory_see_everything_and_speed_has_no_cell_for_the_baseline() -> None:
    model = {"trained_length": 512}
    tasks = {name: process_facts(name, model, 1) for name in ("speed", "memory")}
    found = cells({"dense": facts(), "t": facts(**{"token-recycling": ["decode"]})}, tasks)
    assert [k for k, c in found.items() if c.key] == [("dense", "memory"), ("t", "speed"), ("t", "memory")]
    assert {c.kind for c in found.values()} == {"speed", "memory"}


def test_keys_change_with_the_facts_and_not_with_the_spelling() -> None:
    one = cells({"h2o": facts(h2o=["keep"])}, {"perplexity": STREAM})["h2o", "perplexity"].key
    same = cells({" h2o ": facts(h2o=["keep"])}, {"perplexity": STREAM})[" h2o ", "perplexity"].key
    assert one == same
    for changed in (
        {**facts(h2o=["keep"]), "code": {"h2o.py": "f1"}},
        {**facts(h2o=["keep"]), "fits": ["h2o"]},
        {**facts(h2o=["keep"]), "hash": "h2o(budget=50%)"},
        {**facts(h2o=["keep"]), "models": {"draft": "d1"}},
    ):
        assert cells({"h2o": changed}, {"perplexity": STREAM})["h2o", "perplexity"].key != one
    for task in ({**STREAM, "params": {"length": 65}}, {**STREAM, "version": "2"}, {**STREAM, "code": {"t.py": "f"}}):
        assert cells({"h2o": facts(h2o=["keep"])}, {"perplexity": task})["h2o", "perplexity"].key != one
    other = replace(CONDITIONS, seed=1)
    assert cells({"h2o": facts(h2o=["keep"])}, {"perplexity": STREAM}, other)["h2o", "perplexity"].key != one


def test_unseen_methods() -> None:
    methods = {"a": ["keep"], "b": ["decode", "prompt"]}
    assert unseen_methods(methods, ["keep", "store"]) == ("b",)
    assert unseen_methods(methods, None) == ()


def test_namesakes_are_told_apart_by_a_knob() -> None:
    def task(**params: int) -> dict[str, Any]:
        return {"name": "perplexity", "params": params}

    lines = {"p1": task(seed=0, length=8), "p2": task(seed=0, length=16), "r": {"name": "recall", "params": {}}}
    assert Table({}, lines, ()).names == {"p1": "perplexity(length=8)", "p2": "perplexity(length=16)", "r": "recall"}
    equal = {"p1": task(length=8, seed=0), "p2": task(length=8, seed=1), "p3": task(length=9, seed=1)}
    assert Table({}, equal, ()).names["p2"] == "p2"


# --- facts ---


def test_facts_of_a_recipe() -> None:
    found = recipe_facts(tiny(), "kv-quant(bits=4) + h2o")
    assert found["methods"] == {"kv-quant": ["store"], "h2o": ["keep"]}
    assert found["line"].startswith("kv-quant(bits=4, group_size=")
    assert {"h2o.py", "kv_quant.py", "_ranking.py"} <= {path.rpartition("/")[2] for path in found["code"]}
    assert found["conflict"] == ""
    assert still_true(found)
    assert not still_true({**found, "code": {**found["code"], "gone.py": "f0"}})


@pytest.mark.parametrize(
    ("line", "tokens"),
    [
        ("kv-quant", {"kv-quant": 128 + 32}),  # exact tokens, and a whole group beyond them
        ("kv-quant(residual=0, group_size=8)", {"kv-quant": 8}),
        ("h2o(budget=20tok)", {"h2o": 21}),
        ("kv-quant + h2o(budget=20tok)", {"kv-quant": 160, "h2o": 21}),
        ("window(window=8) + finequant", {"window": 8}),  # holds 7 for the next one
        ("finequant", {}),
        ("contrastive-search", {}),
        ("h2o + snapkv", {}),  # cannot stand
    ],
)
def test_from_how_many_tokens_on_a_method_changes_the_cache(line: str, tokens: dict[str, int]) -> None:
    assert recipe_facts(tiny(), line)["acts_from"] == tokens


@dataclass(frozen=True, kw_only=True)
class Drafted(Method):
    papers: ClassVar[tuple[str, ...]] = ("0000.00000",)
    draft: ModelRef = knob(ModelRef("reference"))

    def plan(self, view: ModelView) -> list[Edit]:
        return []


def test_a_second_model_counts_by_its_contents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recipe, "parse", classmethod(lambda cls, text: Recipe((Drafted(),) if text else ())))
    found = recipe_facts(tiny(), "drafted(draft=reference)")
    assert found["models"] == {"reference": content_hash(locate("reference"))}
    assert still_true(found)
    assert not still_true({**found, "models": {"reference": "0" * 64}})
    assert not still_true({**found, "models": {"nowhere": "0" * 64}})


def test_what_is_wrong_with_a_recipe_is_among_its_facts() -> None:
    assert recipe_facts(tiny(), "h3o")["error"]["kind"] == "RecipeError"
    assert "snapkv" in recipe_facts(tiny(), "h2o + snapkv")["conflict"]


def test_facts_of_a_model() -> None:
    found = model_facts(tiny())
    assert (found["trained_length"], found["rope"], found["dtype"], found["layers"]) == (128, True, "float32", 2)


def test_a_task_is_read_with_its_knobs() -> None:
    task = parse_task("recall(lengths=0.5/1, depths=0, repeats=2)", seed=3)
    assert (task.lengths, task.depths, task.repeats, task.seed) == ((0.5, 1.0), (0.0,), 2, 3)
    assert parse_task("perplexity(length=none, seed=7)", seed=3).seed == 7


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("perplexty", "did you mean 'perplexity'"),
        ("perplexity(lenght=4)", "did you mean 'length'"),
        ("perplexity(length=few)", "a whole number, not 'few'"),
        ("perplexity + recall", "a task is written name"),
        ("perplexity(context=0.99)", r"context must be"),
    ],
)
def test_a_task_that_cannot_be_read(line: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        parse_task(line, seed=0)
    assert task_facts(tiny(), line, None, 0, None)["error"]["kind"] == "RecipeError"  # type: ignore[arg-type]
