"""The failure atlas as a part of the report: kinds of items by recipes, each cell leading to its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from ...evaluation.rows import METRICS
from ..results.pockets import Atlas, Pocket, hurt
from ..results.types import Comparison
from . import text
from .charts import family

NAMED = 8  # pockets named above the tables


@dataclass(frozen=True)
class Cell:
    """shown: the loss; share: of the largest loss of the table, for its shade; anchor: of its rows."""

    pocket: Pocket
    shown: str
    share: float
    sure: bool
    anchor: str


@dataclass(frozen=True)
class Sheet:
    """One task. columns: numbers and families of recipes, with their atlases; lines: trait, value, cells or None."""

    task: str
    metric: str
    unit: str
    columns: Sequence[tuple[int, str, Atlas]]
    lines: Sequence[tuple[str, str, Sequence[Cell | None]]]

    @property
    def cells(self) -> list[tuple[int, Atlas, Cell]]:
        """Those with rows to show."""
        found = [(n, a, c) for _, _, cells in self.lines for (n, _, a), c in zip(self.columns, cells, strict=True) if c]
        return [(n, a, c) for n, a, c in found if c.pocket.worst]


def section(comparison: Comparison) -> str:
    """HTML, everything from outside escaped; empty where nothing was compared item by item."""
    import jinja2

    sheets = [s for task in comparison.tasks if (s := _sheet(comparison, task.name))]
    if not sheets:
        return ""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"digits": text.digits, "signed": signed}
    template = (files(__package__) / "assets" / "atlas.html.j2").read_text(encoding="utf-8")
    numbers = {r.typed: (i, family(r)) for i, r in enumerate(comparison.recipes)}
    return environment.from_string(template).render(
        sheets=sheets, named=hurt(comparison.atlas)[:NAMED], numbers=numbers, store=comparison.store
    )


def signed(value: float) -> str:
    return f"{'+' if value > 0 else '−' if value < 0 else '±'}{text.digits(abs(value))}"


def _sheet(comparison: Comparison, task: str) -> Sheet | None:
    mine = {a.recipe: a for a in comparison.atlas if a.task == task and a.pockets}
    columns = [(i, family(r), mine[r.typed]) for i, r in enumerate(comparison.recipes) if r.typed in mine]
    if not columns:
        return None
    kinds = dict.fromkeys((p.trait, p.value) for _, _, a in columns for p in a.pockets)
    largest = max((abs(p.loss) for _, _, a in columns for p in a.pockets), default=0.0) or 1.0
    known = {(n, p.trait, p.value): p for n, _, a in columns for p in a.pockets}
    place = [t.name for t in comparison.tasks].index(task)
    lines = [
        (trait, value, [_cell(known, n, trait, value, largest, f"rows-{place}-{n}-{row}") for n, _, _ in columns])
        for row, (trait, value) in enumerate(sorted(kinds, key=lambda kind: kind[0]))
    ]
    first = columns[0][2]
    return Sheet(task, METRICS[first.metric].help, first.unit, columns, lines)


def _cell(
    known: Mapping[tuple[int, str, str], Pocket], number: int, trait: str, value: str, largest: float, anchor: str
) -> Cell | None:
    pocket = known.get((number, trait, value))
    if pocket is None:
        return None
    sure = pocket.low is not None and pocket.low > 0
    return Cell(pocket, signed(pocket.loss), min(1.0, max(0.0, pocket.loss / largest)), sure, anchor)
