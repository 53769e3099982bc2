"""How sure the numbers of a comparison are, in sentences: few documents, smallest effects, decisions."""

from __future__ import annotations

from collections.abc import Iterator

from ...evaluation.sequential import Rule, fewest
from ..results.types import FEW, Comparison, Decision, Metric, TaskInfo
from . import text


def certainty(comparison: Comparison) -> list[str]:
    """What table and report say beside their intervals."""
    return [*_few(comparison), *_smallest(comparison), *_decided(comparison)]


def _few(c: Comparison) -> Iterator[str]:
    found = []
    for task in c.tasks:
        counts = [m.estimate.num_documents for m in _first(c, task) if m.estimate.note == FEW or _delta_is_few(m)]
        if counts:
            found.append(f"{task.name} ({min(counts)})")
    if found:
        yield f"too few documents for intervals one can trust (below 20): {', '.join(found)}"


def _delta_is_few(m: Metric) -> bool:
    return m.delta is not None and m.delta.note == FEW


def _smallest(c: Comparison) -> Iterator[str]:
    """The range over recipes: each difference has a spread of its own."""
    found = []
    for task in c.tasks:
        known = [(m.smallest_effect, m.delta) for m in _first(c, task) if m.smallest_effect and m.delta]
        if known:
            sizes, unit = sorted(size for size, _ in known), known[0][1].unit
            span = " to ".join(dict.fromkeys(text.digits(s, 2) for s in (sizes[0], sizes[-1])))
            found.append(f"{task.name} {span}{'%' if unit == '%' else f' {unit}'}")
    if found:
        yield f"smallest difference that would be seen four times in five: {', '.join(found)}"


def _decided(c: Comparison) -> Iterator[str]:
    found = {t.name: [d for r in c.recipes if (cell := r.cell(t.name)) and (d := cell.decision)] for t in c.tasks}
    known = [d for decisions in found.values() for d in decisions]
    if not known:
        return
    yield (
        f"until sure: each decision holds however often one looked, all those on a task together with a chance of "
        f"{100 * (1 - known[0].alpha):g}%; in brackets of a decided difference its confidence sequence"
    )
    for name, decisions in found.items():
        all_read = max((d.documents for d in decisions if d.items == d.of), default=None)
        if all_read is not None and (need := _needed(decisions[0])) > all_read:
            yield (
                f"{name}: {all_read:,} documents cannot show that a recipe is the same within "
                f"{decisions[0].margin:g}; {need:,} could, if none differed at all"
            )


def _needed(d: Decision) -> int:
    """Documents that 'same' needs at the least."""
    return fewest(Rule(d.margin, d.alpha, d.recipes), 1.0 if d.unit == "share" else None) if d.margin < 1 else 0


def _first(c: Comparison, task: TaskInfo) -> list[Metric]:
    cells = [cell for r in c.recipes if (cell := r.cell(task.name))]
    return [m for cell in cells if task.metrics and (m := cell.metric(task.metrics[0]))]
