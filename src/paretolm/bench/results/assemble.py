"""Cells, measured or not -> Comparison."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from ...evaluation.machine import machine
from ...evaluation.suites import expand
from ...evaluation.suites.suite import PERPLEXITY
from ..desk import Desk
from ..plan import DENSE, MEMORY, PROCESS_TASKS, SPEED, Table
from ..records.store import CellRecord
from .apart import apart, pairs_alike
from .atlases import atlases
from .frontier import frontier
from .gather import (
    Measured,
    dense_runtime,
    flags,
    held,
    ledger,
    memory_medians,
    quality_results,
    runtime,
    speed_metric,
    unsettled,
)
from .machines import elsewhere
from .reach import excused
from .trust import trusted
from .types import CellResult, Comparison, Metric, RecipeResult, TaskInfo

_READ = ("done", "partial")


def assemble(desk: Desk, table: Table, started: float, began: float) -> Comparison:
    """What the store holds of the table's cells. started: seconds since the epoch; began: the same moment by the clock
    that nobody sets."""
    measured = _measured(desk, table)
    cells = _cell_results(desk, table, measured)
    recipes = [
        _recipe_result(text, facts, cells[text], measured.get(text, {}), measured.get(DENSE, {}))
        for text, facts in table.recipes.items()
    ]
    at_rest = dense_runtime(mine[SPEED].items for mine in measured.values() if SPEED in mine)
    recipes = [replace(r, runtime=at_rest) if r.is_dense else r for r in recipes]
    tasks = _task_infos(desk, table, cells)
    conditions = desk.conditions
    return Comparison(
        model=desk.request.model,
        model_hash=conditions.content,
        trained_length=desk.model["trained_length"],
        text=desk.source.name if desk.request.text else "the embedded text",
        recipes=tuple(_with_frontier(recipes, tasks)),
        tasks=tasks,
        conditions={
            "device": conditions.device,
            "dtype": desk.model["dtype"],
            "attention": desk.model["attention"],
            "threads": desk.threads,
            "seed": conditions.seed,
        },
        machine=machine().as_json(),
        versions={**conditions.versions, "paretolm": version("paretolm")},
        created=datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - began, 3),
        computed=desk.measured,
        reused=sum(bool(c.key) for c in table.cells) - desk.measured,
        store=str(desk.request.store_path),
        notes=(*desk.source.notes, *table.notes, *elsewhere(_records(desk, table).values())),
        title=desk.request.title,
        atlas=atlases(desk, table, {t: r.typed for t, r in zip(table.recipes, recipes, strict=True)}, measured),
        **_apart(desk, table, recipes, tasks, measured),
    )


def _apart(
    desk: Desk,
    table: Table,
    recipes: Sequence[RecipeResult],
    tasks: Sequence[TaskInfo],
    measured: Mapping[str, Mapping[str, Measured]],
) -> dict[str, Any]:
    """What a suite that sets perplexity apart is run for."""
    perplexity = next((t.name for t in tasks if t.group == PERPLEXITY), None)
    if perplexity is None or desk.request.sure:  # recipes that ended at different items share no pairs
        return {}
    typed = dict(zip(table.recipes, (r.typed for r in recipes), strict=True))
    cells = {(typed[text], table.names[line]): m for text, mine in measured.items() for line, m in mine.items()}
    found = apart(recipes, tasks, perplexity, cells, desk.request.seed)
    return {"alike": len(pairs_alike(recipes, perplexity)), "apart": tuple(found)}


def _records(desk: Desk, table: Table) -> dict[str, CellRecord]:
    return desk.store.cells([c.key for c in table.cells if c.key])


def _measured(desk: Desk, table: Table) -> dict[str, dict[str, Measured]]:
    """Recipe -> task -> its finished cell; one that was decided has the items it was decided on, and the untouched
    model those that any recipe needed."""
    records = _records(desk, table)
    whole = {c.task for c in table.cells if c.recipe == DENSE and c.key and records[c.key].state in _READ}
    decided = {c.key: d for c in table.cells if c.key and c.task in whole and (d := desk.docket.decision(c))}
    needed: dict[str, list[str]] = {}
    for cell in table.cells:
        if cell.key in decided:
            needed[cell.task] = max(needed.get(cell.task, []), decided[cell.key]["items"], key=len)
    found: dict[str, dict[str, Measured]] = {}
    for cell in table.cells:
        known = decided.get(cell.key)
        names = known["items"] if known else needed.get(cell.task) if cell.recipe == DENSE else None
        if cell.key and records[cell.key].state in (("done",) if names is None else _READ):
            items = [one for one in desk.store.items(cell.key) if names is None or one.item in set(names)]
            found.setdefault(cell.recipe, {})[cell.task] = Measured(cell, records[cell.key], items, known)
    return found


def _cell_results(
    desk: Desk, table: Table, measured: Mapping[str, Mapping[str, Measured]]
) -> dict[str, dict[str, CellResult]]:
    """Recipe -> task -> result, for every pair."""
    records = _records(desk, table)
    found = {
        text: {c.task: unsettled(c, records.get(c.key)) for c in table.cells if c.recipe == text}
        for text in table.recipes
    }
    for line, facts in table.tasks.items():
        mine = {text: cells[line] for text, cells in measured.items() if line in cells}
        done = quality_results(desk.store, mine, facts["headline"], desk.request.seed, line in PROCESS_TASKS)
        if line not in PROCESS_TASKS:
            approximate = {t: sorted(set(f["methods"]) - set(f["exact"])) for t, f in table.recipes.items()}
            told = approximate if facts["mode"] == "stream" else None
            done = trusted(desk.store, desk.conditions.content, desk.request.seed, mine, done, told)
            done = excused(mine, done, table.recipes, facts)
        for text, result in done.items():
            found[text][line] = result
            if known := mine[text].decided:
                from .decisions import decision_of  # brings scipy

                decision = decision_of(facts["headline"], known, desk.docket.rule(line))
                found[text][line] = replace(result, decision=decision)
    return {t: {line: replace(r, task=table.names[line]) for line, r in mine.items()} for t, mine in found.items()}


def _recipe_result(
    text: str,
    facts: Mapping[str, Any],
    cells: Mapping[str, CellResult],
    measured: Mapping[str, Measured],
    dense: Mapping[str, Measured],
) -> RecipeResult:
    sizes = held({line: m for line, m in measured.items() if line != SPEED}, dense)
    acted: dict[str, dict[str, float]] = {}
    for m in measured.values():
        for method, counts in m.counters.items():
            mine = acted.setdefault(method, {})
            for name, count in counts.items():
                mine[name] = max(mine.get(name, 0), count)
    speed = measured.get(SPEED)
    memory = measured.get(MEMORY)
    return RecipeResult(
        line=DENSE if not facts["methods"] else facts["line"],
        hash=facts["hash"],
        typed=facts["short"] if text.endswith(".toml") else " ".join(text.split()),
        cells=tuple(cells.values()),
        kv_bytes=sizes.kv,
        weight_bytes=sizes.weights,
        index_bytes=sizes.index,
        acted=acted,
        papers=tuple(facts["papers"]),
        slots=tuple(s for slots in facts["methods"].values() for s in slots),
        speed=speed_metric(speed.items) if speed else None,
        flags=flags(speed.items) if speed else (),
        runtime=runtime(speed.items) if speed else None,
        memory=memory_medians(memory.items) if memory else {},
        ledger=ledger(memory.items) if memory else (),
    )


def _task_infos(desk: Desk, table: Table, cells: Mapping[str, Mapping[str, CellResult]]) -> tuple[TaskInfo, ...]:
    groups = expand(desk.request.tasks, desk.model["trained_length"])
    return tuple(
        _task_info(desk, table.names[line], facts, [mine[line] for mine in cells.values()], groups.get(line, ""))
        for line, facts in table.tasks.items()
        if line not in PROCESS_TASKS
    )


def _task_info(desk: Desk, name: str, facts: Mapping[str, Any], results: Iterable[CellResult], group: str) -> TaskInfo:
    found = list(results)
    shown = dict.fromkeys(m.name for result in found for m in result.metrics)
    counted = [r.metrics[0].estimate for r in found if r.metrics]
    return TaskInfo(
        name=name,
        line=facts.get("line", name),
        version=facts.get("version", ""),
        title=facts.get("title", ""),
        metrics=tuple(shown),
        num_items=counted[0].num_items if counted else facts.get("num_items", 0),
        num_documents=counted[0].num_documents if counted else facts.get("num_documents", 0),
        data=desk.source.data_hash,
        sees=tuple(facts.get("sees") or ()),
        group=group,
    )


def _with_frontier(recipes: Sequence[RecipeResult], tasks: Sequence[TaskInfo]) -> list[RecipeResult]:
    """Marks recipes that no other beats on the first task's headline and on cache bytes, or on speed."""
    marks: dict[str, list[str]] = {r.line: [] for r in recipes}
    for axis in ("kv_bytes", "speed") if tasks and tasks[0].metrics else ():
        placed = [(r, x, m) for r in recipes if (x := _on(axis, r)) is not None and (m := _headline(r, tasks[0]))]
        points = [(x, m.estimate.value) for _, x, m in placed]
        higher = (axis == "speed", bool(placed) and placed[0][2].higher_is_better)
        for i in frontier(points, higher=higher):
            marks[placed[i][0].line].append(axis)
    return [replace(r, on_frontier=tuple(marks[r.line])) for r in recipes]


def _on(axis: str, recipe: RecipeResult) -> float | None:
    if axis == "kv_bytes":
        return recipe.kv_bytes.held if recipe.kv_bytes else None
    return 1.0 if recipe.is_dense else recipe.speed.estimate.value if recipe.speed else None


def _headline(recipe: RecipeResult, task: TaskInfo) -> Metric | None:
    cell = recipe.cell(task.name)
    return cell.metric(task.metrics[0]) if cell and cell.state == "done" else None
