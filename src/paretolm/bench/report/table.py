"""A comparison as a table in the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..results.types import FEW, Bytes, CellResult, Comparison, Metric, RecipeResult, TaskInfo
from . import text
from .apart import beginnings, told_apart
from .certainty import certainty
from .ledger import NOTE, ledger_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PROCESS_BYTES = {"steady_kv_bytes": "cache steady", "peak_kv_bytes": "peak"}  # of a fresh process
BAR = "│\n│"  # between the groups of a suite
WIDE = 200  # columns where nobody's terminal sets a bound


def console() -> Console:
    """For stdout: as wide as the terminal, or wide enough for whole lines in a file. NO_COLOR is respected."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE
    return Console(width=width, soft_wrap=False)


def show(comparison: Comparison) -> None:
    """Prints the table, what it leaves out, and why cells failed."""
    out = console()
    out.print(table(comparison))
    if weighed := ledger_table(comparison.recipes):
        out.print(weighed)
        out.print(NOTE, markup=False, highlight=False, soft_wrap=True)
    for line in remarks(comparison):
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def table(comparison: Comparison) -> Table:
    """One row a recipe: quality with its paired difference, bytes, speed, and whether it acted."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    found = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    found.add_column("", justify="right")
    found.add_column("recipe", overflow="fold", min_width=18)
    begins = beginnings(comparison.tasks)
    for task, heading in zip(comparison.tasks, _headings(comparison.tasks, begins), strict=True):
        if task.name in begins:
            found.add_column(f"{BAR}\n│", justify="center")
        found.add_column(heading, justify="right")
    weighed = [k for k in PROCESS_BYTES if any(k in r.memory for r in comparison.recipes)]
    timed = ["runtime"] if any(r.runtime for r in comparison.recipes) else []
    for heading in ("cache held", "weights", *(PROCESS_BYTES[k] for k in weighed), "speed", *timed):
        found.add_column(heading, justify="right")
    found.add_column("status")
    for number, recipe in enumerate(comparison.recipes):
        cells = [
            word
            for t in comparison.tasks
            for word in ([BAR] if t.name in begins else []) + [_cell(recipe.cell(t.name), t)]
        ]
        style = "bold" if recipe.is_dense else "" if recipe.ranked else "dim"
        sizes = [
            _held(recipe.kv_bytes),
            _held(recipe.weight_bytes),
            *(text.size(recipe.memory.get(k)) for k in weighed),
        ]
        times = ["\n".join(text.runtime(recipe.runtime)) or "–" for _ in timed]
        row = [str(number), recipe.typed, *cells, *sizes, _speed(recipe), *times, status(recipe)[0]]
        found.add_row(*(Text(word) for word in row), style=style)
    return found


_TELLING = ("failed", "suspect", "did not act", "missing")


def status(recipe: RecipeResult) -> tuple[str, str]:
    """(word, why)."""
    why = "; ".join(f"{c.task}: {c.reason}" for c in recipe.cells if c.state in _TELLING)
    states = {c.state for c in recipe.cells}
    if states & {"failed", "missing"}:
        return ("partly failed" if "done" in states else "failed"), why
    idle = any(c.state == "did not act" and not (c.short and "done" in states) for c in recipe.cells)
    for word, found in (("suspect", "suspect" in states), ("did not act", idle)):
        if found:
            return word, why
    if recipe.flags:
        return "speed flagged", f"speed: {'; '.join(recipe.flags)}"
    if "done" in states and recipe.idle:
        return "partly acted", f"{' and '.join(recipe.idle)} changed nothing: every counter stayed at zero"
    if "done" in states or recipe.is_dense:
        return ("on the frontier" if recipe.on_frontier and not recipe.is_dense else "measured"), why
    return "n/a", "no task here can see it"


def remarks(comparison: Comparison) -> list[str]:
    """What the table could not hold."""
    c = comparison
    counts = ", ".join(f"{t.name}: {t.num_items} items of {t.num_documents} documents" for t in c.tasks)
    tokens = next((r.kv_bytes.tokens for r in c.recipes if r.kv_bytes), None)
    found = [*([counts] if counts else []), *certainty(c), *told_apart(c)]
    if tokens:
        found.append(f"cache held after a prompt of {tokens:,} tokens; in brackets 95% intervals, paired by document")
    n_a = sorted({cell.reason for r in c.recipes for cell in r.cells if cell.state == "n/a" and not r.is_dense})
    found += [f"n/a: {reason}" for reason in n_a]
    if any(cell.unseen for r in c.recipes for cell in r.cells):
        found.append("*: this task sees only a part of the recipe")
    audits = [f"{r.typed} {text.signed(a.estimate)}" for r in c.recipes if (a := r.audit)]
    if audits:
        found.append(f"one token at a time minus in chunks, nats/token: {', '.join(audits)}")
    found += [f"{r.typed}: {why}" for r in c.recipes if (why := status(r)[1])]
    return [
        *found,
        *c.notes,
        f"{c.computed} cells measured, {c.reused} read from {c.store}, in {text.seconds(c.seconds)}",
    ]


def _headings(tasks: Sequence[TaskInfo], begins: set[str]) -> list[str]:
    """Under the group's name where one begins, all of one height."""
    found = [_heading(task) for task in tasks]
    if not begins:
        return found
    height = max(heading.count("\n") for heading in found)
    groups = [task.group.upper() if task.name in begins else "" for task in tasks]
    return [f"{g}\n{h}" + "\n" * (height - h.count("\n")) for g, h in zip(groups, found, strict=True)]


def _heading(task: TaskInfo) -> str:
    metric = task.metrics[0] if task.metrics else ""
    return task.name if metric == task.name or task.name.startswith(f"{metric}(") else f"{task.name}\n{metric}"


def _cell(cell: CellResult | None, task: TaskInfo) -> str:
    metric = cell.metric(task.metrics[0]) if cell and task.metrics else None
    if cell is None or metric is None or cell.state == "did not act":
        return cell.state if cell and cell.state in ("n/a", "failed", "suspect", "did not act") else "–"
    more = [FEW] if text.few(metric) else []
    more += [text.decision(cell.decision)] if cell.decision else []
    return "\n".join([f"{text.number(metric.estimate)}{'*' if cell.unseen else ''}", _beside(metric), *more])


def _beside(metric: Metric) -> str:
    if metric.delta is None:
        return text.interval(metric.estimate)
    return f"{text.signed(metric.delta)} {text.interval(metric.delta, sign=True)}"


def _held(b: Bytes | None) -> str:
    return "–" if b is None else f"{text.size(b.held)}\n{text.share(b.held, b.dense)}"


def _speed(recipe: RecipeResult) -> str:
    if recipe.flags:
        return "flagged"
    if recipe.speed is None:
        return "1.00×" if recipe.is_dense else "–"
    return f"{text.number(recipe.speed.estimate)}\n{text.interval(recipe.speed.estimate)}"
