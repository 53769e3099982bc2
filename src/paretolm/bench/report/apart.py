"""What a suite adds to table and report: its groups, and the recipes that perplexity calls alike and a task does not."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from itertools import groupby

from ..results.apart import FAR, LIKE
from ..results.types import Apart, Comparison, TaskInfo
from . import text
from .charts import family

MOST = 8  # pairs that are shown


def beginnings(tasks: Sequence[TaskInfo]) -> set[str]:
    """Tasks before which a group of a suite begins; none where no suite was asked for."""
    if not any(task.group for task in tasks):
        return set()
    return {t.name for i, t in enumerate(tasks) if i == 0 or t.group != tasks[i - 1].group}


def groups(tasks: Sequence[TaskInfo]) -> list[tuple[str, int]]:
    """(group, tasks that stand side by side in it), in order; none where no suite was asked for."""
    if not beginnings(tasks):
        return []
    return [(name, len(list(mine))) for name, mine in groupby(tasks, lambda task: task.group)]


def counted(comparison: Comparison) -> str:
    """How many pairs there are, in a sentence; empty where no suite asked for them."""
    if comparison.alike is None:
        return ""
    named = {(p.better, p.worse) for p in comparison.apart}
    return (
        f"within {LIKE:g}% of each other in perplexity: {comparison.alike} pairs of recipes; "
        f"{FAR:g} points or more apart on another task: {len(named)} of them"
    )


def told_apart(comparison: Comparison) -> list[str]:
    """The pairs as lines below the table: how many there are, and the widest."""
    said = counted(comparison)
    found = [said] if said else []
    for p in comparison.apart[:MOST]:
        one, other = values(p)
        like = f"perplexity {text.digits(p.perplexity[0])} and {text.digits(p.perplexity[1])}"
        found.append(f"  {p.task} ({p.group}): {p.better} {one} against {other} {p.worse}, {span(p)}; {like}")
    if len(comparison.apart) > MOST:
        found.append(f"  and {len(comparison.apart) - MOST} more, all in the JSON")
    return found


def values(pair: Apart) -> list[str]:
    """Of the better and the worse one."""
    return [f"{value:.1f}%" for value in pair.values]


def span(pair: Apart) -> str:
    """The paired difference with its interval."""
    return f"{text.signed(pair.difference)} {text.interval(pair.difference, sign=True)}"


def section(comparison: Comparison) -> str:
    """HTML, everything from outside escaped; empty where no suite asked for pairs."""
    import jinja2

    said = counted(comparison)
    if not said:
        return ""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"digits": text.digits, "values": values, "span": span}
    template = (files(__package__) / "assets" / "apart.html.j2").read_text(encoding="utf-8")
    numbers = {r.typed: (i, family(r)) for i, r in enumerate(comparison.recipes)}
    return environment.from_string(template).render(
        said=said, numbers=numbers, shown=comparison.apart[:MOST], rest=comparison.apart[MOST:]
    )
