"""Where the bytes of a fresh process went, each entry beside what was predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..results.types import Booked, RecipeResult
from . import text

if TYPE_CHECKING:
    from rich.table import Table

TOTAL = "steady"
NOTE = (
    "ledger of fresh processes: measured, below it predicted and by how much the measurement is off; the entries add "
    "up to the steady bytes, activations come on top at the peak"
)


def columns(recipes: Sequence[RecipeResult]) -> list[str]:
    """Entries that hold anything in any recipe, or should."""
    names = dict.fromkeys(b.name for r in recipes for b in r.ledger)
    return [n for n in names if any(b.measured or b.high for r in recipes for b in r.ledger if b.name == n)]


def cell(recipe: RecipeResult, name: str) -> list[str]:
    """Measured; predicted and the difference, where anybody predicts."""
    booked = next((b for b in recipe.ledger if b.name == name), None)
    if booked is None:
        return ["–"]
    difference = booked.difference
    if difference is None:
        return [text.size(booked.measured)]
    return [text.size(booked.measured), foretold(booked), off(difference)]


def foretold(booked: Booked) -> str:
    low, high = text.size(booked.low), text.size(booked.high)
    return low if low == high else f"{low} to {high}"


def off(difference: float) -> str:
    if difference == 0:
        return "±0"
    return f"{'+' if difference > 0 else '−'}{text.size(abs(difference))}"


def total(recipe: RecipeResult) -> str:
    return text.size(recipe.memory.get("steady_total_bytes"))


def activations(recipe: RecipeResult) -> str:
    """What a request takes for a moment, beyond what it leaves."""
    peak, steady = (recipe.memory.get(f"{name}_kv_bytes") for name in ("peak", "steady"))
    return "–" if peak is None or steady is None else text.size(max(0.0, peak - steady))


def ledger_table(recipes: Sequence[RecipeResult]) -> Table | None:
    """One row a recipe; None where no memory was weighed."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    weighed = [(i, r) for i, r in enumerate(recipes) if r.ledger]
    if not weighed:
        return None
    names = columns([r for _, r in weighed])
    found = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    found.add_column("", justify="right")
    found.add_column("recipe", overflow="fold", min_width=18)
    for heading in (*names, TOTAL, "activations"):
        found.add_column(heading, justify="right")
    for number, recipe in weighed:
        cells = ["\n".join(cell(recipe, name)) for name in names]
        row = [str(number), recipe.typed, *cells, total(recipe), activations(recipe)]
        found.add_row(*(Text(word) for word in row))
    return found
