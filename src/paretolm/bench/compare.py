"""compare: quality, memory and speed of recipes side by side, against the untouched model."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import ConflictError, ParetoError, RecipeError, TextError, UserError, nearest
from ..evaluation import suites
from ..evaluation.isolated import rebuilt
from ..evaluation.tasks import names as task_names
from ..recipes import grammar
from ..recipes.index import method_info
from .desk import Desk, Request
from .plan import DENSE, PROCESS_TASKS, Table, default_recipes, default_tasks, make_cells
from .progress import Progress
from .records.relay import opened
from .results.assemble import assemble
from .results.types import Comparison
from .sweep import Sweep
from .until import Sure


def compare(
    model: str | Path = "reference",
    recipes: Sequence[object] = (),
    tasks: Sequence[str] = (),
    *,
    text: str | Path | None = None,
    output: str | Path = ".paretolm",
    device: str = "cpu",
    dtype: str | None = None,
    attention: str | None = None,
    threads: int | None = None,
    seed: int = 0,
    limit: int | None = None,
    chunk: int | None = None,
    title: str = "",
    shelves: Sequence[str] = (),
    budgets: Sequence[str] = (),
    context: int | None = None,
    until_sure: bool = False,
    margin: float | None = None,
    alpha: float | None = None,
    workers: str | int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Measures every recipe on every task, beside the untouched model.

    recipes: lines, paths of .toml files or Recipe objects; by default one or two of every family. tasks: names
    with knobs, suites of them ('llm-kick'), and 'speed' and 'memory'. text: a file or directory, by default the
    embedded sample. output: where results are kept; what is there already under the same conditions is not
    measured again. shelves, budgets: every method of a shelf ('keep', 'attend/masks') at each budget ('10%'), beside
    the recipes; context: tokens of a text, where no tasks are given. limit: items a task at most. chunk: tokens a
    forward of scored text at most. title: heads the report. until_sure: a recipe is scored on a task only until its difference from the untouched model is known to
    lie within `margin` (in the unit of the task's first metric; by default 0.01) or beyond it; `alpha` (by default
    0.05) is the chance that any of these decisions on a task is wrong. workers: how many processes measure on this
    machine, by default as many as suit the model; or a Ray cluster ('ray', 'ray://HOST:PORT'), where threads is that
    of one worker, by default 1. Speed and memory are measured on this machine in any case.

    Raises UserError for what was asked wrongly; a cell that fails is a part of the result.
    """
    lines, words, path = tuple(map(str, recipes)), tuple(tasks), None if text is None else str(text)
    sure, sweep = asked_sure(until_sure, margin, alpha), Sweep(tuple(shelves), tuple(budgets), context)
    place = Path(output)
    crew = None if workers is None else str(workers)
    opening = (str(model), lines, words, path, place, device, dtype, attention, threads)
    request = Request(*opening, seed, limit, chunk, title, sure, sweep, crew)
    return run(request, progress or Progress())


def asked_sure(until_sure: bool, margin: float | None, alpha: float | None) -> Sure | None:
    """Raises UserError for values that cannot be, and for those that nothing would obey."""
    given = {name: value for name, value in (("margin", margin), ("alpha", alpha)) if value is not None}
    if given and not until_sure:
        raise UserError(
            f"--{next(iter(given))} says when --until-sure may stop scoring; add --until-sure, or leave it out"
        )
    return Sure(**given) if until_sure else None


def run(request: Request, progress: Progress) -> Comparison:
    """`compare` of a request."""
    started, began = time.time(), time.monotonic()
    check_words(request)
    with opened(request.store_path) as store:
        desk = Desk(request, store, progress)
        try:
            with progress.showing():
                table = _plan(desk)
                cells = [c for c in table.cells if c.key]
                asked: dict[str, Any] = {"model": request.model, "recipes": request.recipes, "tasks": request.tasks}
                asked |= {"until_sure": asdict(request.sure)} if request.sure else {}
                run_id = store.start_run({**asked, "cells": [c.key for c in cells]})
                desk.measure(cells, table.lines)
            store.finish_run(run_id)
            return assemble(desk, table, started, began)
        finally:
            desk.close()


def check_words(request: Request) -> None:
    """Raises RecipeError for names nobody knows, before anything is loaded; knobs are checked with the model."""
    for text in request.recipes:
        for call in grammar.read(text) if not text.strip().endswith(".toml") else ():
            try:
                method_info(call.name)
            except RecipeError as error:
                raise RecipeError(f"{error} {call.where}") from None
    for line in request.tasks:
        for call in grammar.read(line):
            known = [*task_names(), *suites.names(), *PROCESS_TASKS]
            if call.name not in known:
                raise RecipeError(f"no task is called {call.name!r}{nearest(call.name, known)}")


def _plan(desk: Desk) -> Table:
    """Raises UserError where the request cannot be met: a recipe or task that cannot be read, nothing that fits."""
    request = desk.request
    trained = desk.model["trained_length"]
    swept = request.sweep.recipes(trained)
    given = [*request.recipes, *swept.lines]
    wanted = [DENSE, *(given or default_recipes(trained))]
    asked = (
        list(suites.expand(request.tasks, trained))
        or request.sweep.tasks(trained)
        or default_tasks(trained, desk.model["rope"])
    )
    recipes, tasks = desk.describe(list(dict.fromkeys(wanted)), list(dict.fromkeys(asked)))
    for facts in recipes.values():
        if "error" in facts:
            raise rebuilt(facts["error"])
    _refuse_tasks(tasks)
    recipes = {text: facts for text, facts in recipes.items() if text == _first(recipes, facts["hash"])}
    others = [facts for text, facts in recipes.items() if text != DENSE]
    if others and all(facts["conflict"] for facts in others):
        raise ConflictError(others[0]["conflict"])
    params = {"limit": request.limit, "chunk": request.chunk}
    cells = list(make_cells(desk.conditions, recipes, tasks, params, desk.source.data_hash))
    return Table(recipes, tasks, cells, (*swept.notes, *request.sweep.doubts(trained)))


def _first(recipes: Mapping[str, Mapping[str, Any]], hash_: str) -> str:
    """Of recipes that mean the same, the one named first."""
    return next(text for text, facts in recipes.items() if facts["hash"] == hash_)


def _refuse_tasks(tasks: Mapping[str, Mapping[str, Any]]) -> None:
    """A task nobody knows, or a text that serves none of the tasks, is a mistake of the request."""
    errors: list[ParetoError] = [rebuilt(facts["error"]) for facts in tasks.values() if "error" in facts]
    for error in errors:
        if not isinstance(error, TextError):
            raise error
    if errors and len(errors) == sum(line not in PROCESS_TASKS for line in tasks):
        raise errors[0]
