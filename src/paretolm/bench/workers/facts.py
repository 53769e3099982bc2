"""What can be said of a model, of recipes on it and of tasks on a text before anything is measured, as JSON."""

from __future__ import annotations

import dataclasses
import json
import sys
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...bridge.content import content_hash
from ...bridge.lm import LM
from ...bridge.locate import locate
from ...contracts import Interval, LayerCost, ModelRef, Slot
from ...errors import ParetoError
from ...evaluation import tasks
from ...evaluation.isolated import describe
from ...evaluation.source import TextSource
from ...evaluation.task import Task
from ...recipes.conflicts import Planned
from ...recipes.lines import read_call, read_knobs
from ...recipes.recipe import Recipe, dense_cost
from ..records.keys import PACKAGE, code_hashes
from .fitting import fitted_methods


def model_facts(lm: LM) -> dict[str, Any]:
    view = lm.view
    return {
        "name": lm.name,
        "content": lm.content_hash,
        "architecture": view.architecture,
        "parameters": sum(p.numel() for p in lm.model.parameters()),
        "layers": view.num_layers,
        "trained_length": view.trained_length,
        "rope": view.rope is not None,
        "weight_bytes": view.weight_bytes,
        "dtype": str(lm.model.dtype).removeprefix("torch."),
        "attention": view.attention,
        "device": lm.model.device.type,
    }


def recipe_facts(lm: LM, text: str) -> dict[str, Any]:
    """Raises nothing: what is wrong with a recipe is among its facts."""
    try:
        recipe = Recipe.parse(text)
        models = {name: content_hash(locate(name)) for name in sorted(_second_models(recipe))}
    except ParetoError as error:
        return {"error": describe(error)}
    plan = recipe.plan(lm.view)
    slots = {m.name: sorted({e.slot for o, e in plan.pairs if o is m}, key=lambda s: s.order) for m in recipe.methods}
    return {
        "line": recipe.full(),
        "short": str(recipe),
        "hash": recipe.hash,
        "methods": {name: [s.value for s in places] for name, places in slots.items()},
        "papers": sorted({p for m in recipe.methods for p in m.papers}),
        "fits": [] if plan.conflicts else [m.name for m in fitted_methods(recipe, lm)],
        "exact": [m.name for m in recipe.methods if m.exact],
        "acts_from": {} if plan.conflicts else acts_from(plan.steps),
        "reads_alone": not plan.conflicts and not plan.shares_prefill,
        "conflict": " ".join(map(str, plan.conflicts)),
        "code": code_hashes(sorted(_sources(recipe))),
        "models": models,
    }


LONGEST = 1 << 20  # tokens


def acts_from(steps: Sequence[Planned]) -> dict[str, int]:
    """Method -> the fewest tokens of which it is predicted to hold less, or in another form, than the untouched model.

    Only of methods that act in the cache alone and change what it holds at some length up to LONGEST: of others a
    length says nothing. What changes at a length changes at every longer one."""
    found: dict[str, int] = {}
    for step in steps:
        name = step.method.name
        if all(e.slot.in_cache for e in step.edits) and _changes(step, LONGEST):
            shorter = bisect_left(range(LONGEST), True, lo=1, key=lambda n: _changes(step, n))
            found[name] = min(shorter, found.get(name, LONGEST))
    return found


def _changes(step: Planned, tokens: int) -> bool:
    """Whether the method alone holds other entries of so many tokens; what it holds beside them does not count."""
    before = dense_cost(step.view, tokens)
    after = step.method.cost(step.view, tokens, before)
    return list(map(_entries, after.layers)) != list(map(_entries, before.layers))


def _entries(layer: LayerCost) -> tuple[Interval, Interval, Interval]:
    return layer.entries, layer.key_bytes, layer.value_bytes


def _second_models(recipe: Recipe) -> set[str]:
    """Every model that a knob names, and those that its own recipe names."""
    named = [v for m in recipe.methods for f in dataclasses.fields(m) if isinstance(v := getattr(m, f.name), ModelRef)]
    return {r.name for r in named}.union(*(_second_models(Recipe.parse(r.recipe)) for r in named))


def _sources(recipe: Recipe) -> set[str]:
    """The files of a recipe's methods, and the helpers that methods of our shelves share."""
    own = {str(Path(sys.modules[c.__module__].__file__ or "")) for m in recipe.methods for c in _lineage(type(m))}
    helpers = {str(f) for f in (PACKAGE / "methods").rglob("_*.py")} if own else set()
    return own | helpers


def _lineage(cls: type) -> list[type]:
    from ...contracts import Method

    return [c for c in cls.__mro__ if issubclass(c, Method) and c is not Method]


def named_hash(name: str) -> str:
    """Of a file of data, or of the model of that name; empty where there is neither."""
    if found := code_hashes([name])[name]:
        return found
    try:
        return content_hash(locate(name))
    except ParetoError:
        return ""


def parse_task(line: str, seed: int) -> Task:
    """`recall`, or `recall(repeats=5, lengths=0.5/1)`: several values of a knob are joined by '/'. The path of a YAML
    alone is a task of lm-evaluation-harness. Raises RecipeError.

    seed draws the items unless the line has one of its own."""
    if line.endswith((".yaml", ".yml")):
        line = f"lm-eval(yaml={json.dumps(line)})"
    call = read_call(line, "task")
    kind = type(tasks.make(call.name))
    return tasks.make(call.name, **{"seed": seed} | read_knobs(kind, call, "task"))


def task_facts(lm: LM, line: str, source: TextSource, seed: int, limit: int | None) -> dict[str, Any]:
    """Raises nothing, like recipe_facts. tokens: the most the cache sees in one item."""
    from .arm import in_order

    try:
        task = parse_task(line, seed)
    except ParetoError as error:
        return {"error": describe(error)}
    facts = {
        "name": task.name,
        "line": str(task),
        "version": str(task.version),
        "title": (sys.modules[type(task).__module__].__doc__ or "").strip().partition("\n")[0],
        "headline": task.headline,
        "params": dataclasses.asdict(task),
        "sees": [s.value for s in Slot if s in task.sees],
        "mode": task.mode,
        "code": code_hashes(sorted(_task_sources(task))),
    }
    try:
        items = in_order(task.items(source, lm), task.seed, limit)
    except ParetoError as error:
        return facts | {"error": describe(error)}
    tokens = max(task.tokens(i) for i in items)
    documents = len({i.doc for i in items})
    return facts | {"num_items": len(items), "num_documents": documents, "tokens": tokens}


def _task_sources(task: Task) -> set[str]:
    """The task's own source files, and the data it reads beside the text."""
    lineage = [c for c in type(task).__mro__ if issubclass(c, Task) and c is not Task]
    own = {str(Path(sys.modules[c.__module__].__file__ or "")) for c in lineage}
    return own | {str(f) for f in task.files()}


def describe_all(
    lm: LM, recipes: Sequence[str], task_lines: Sequence[str], source: TextSource, seed: int, limit: int | None
) -> dict[str, Any]:
    return {
        "recipes": {text: recipe_facts(lm, text) for text in recipes},
        "tasks": {line: task_facts(lm, line, source, seed, limit) for line in task_lines},
    }
