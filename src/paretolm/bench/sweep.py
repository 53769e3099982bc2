"""All methods of a shelf at the same budgets: what `--shelf keep --budget 10%,25%` stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import RecipeError, nearest
from ..recipes.index import SHELVES, methods
from ..recipes.source import MethodInfo

if TYPE_CHECKING:
    from ..contracts import Budget

RECALL_ITEMS = 4  # of each depth
STREAMS = 6


@dataclass(frozen=True)
class Swept:
    """lines: recipes; notes: a sentence for each that its method refuses."""

    lines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sweep:
    """shelves: 'keep', or a room of one, 'attend/masks'. budgets: as recipes write them. context: tokens."""

    shelves: tuple[str, ...] = ()
    budgets: tuple[str, ...] = ()
    context: int | None = None

    def recipes(self, trained_length: int) -> Swept:
        """A line for each method and budget; methods that hold a number of tokens get as many as a budget in percent
        is at the context (by itself the trained length). A method without a budget stands once, as it is by itself.
        Raises RecipeError for a shelf nobody knows and budgets without a shelf."""
        if not self.shelves and not self.budgets:
            return Swept()
        if not self.shelves:
            raise RecipeError("--budget says how much the methods of a --shelf may hold or read: give one")
        from ..contracts import Budget  # loads torch, which a call with nothing to measure does without

        budgets = [Budget.parse(b) for b in self.budgets]
        tokens = self.context or trained_length
        found = [line for shelf in self.shelves for info in _on(shelf) for line in _lines(info, budgets, tokens)]
        return _possible(list(dict.fromkeys(found)))

    def doubts(self, trained_length: int) -> list[str]:
        """What a context beyond the trained length means."""
        if self.context is None or self.context <= trained_length:
            return []
        return [
            f"The context of {self.context} tokens is beyond the {trained_length} the model was trained on: where the "
            "untouched model fails there, what a recipe keeps of it says little."
        ]

    def tasks(self, trained_length: int) -> list[str]:
        """Text and recall as long as the context; none without one."""
        if self.context is None:
            return []
        lengths = f"{self.context / trained_length:.6g}"
        return [
            f"perplexity(length={self.context}, streams={STREAMS}, context=0.75, audit=0)",
            f"recall(lengths={lengths}, repeats={RECALL_ITEMS})",
        ]


def _on(shelf: str) -> list[MethodInfo]:
    rooms = {m.shelf for m in methods()}
    if shelf not in rooms and shelf not in SHELVES:
        known = sorted({*rooms, *SHELVES})
        raise RecipeError(f"no shelf is called {shelf!r}{nearest(shelf, known)}: there are {', '.join(SHELVES)}")
    found = [m for m in methods() if m.shelf == shelf or m.shelf.startswith(f"{shelf}/")]
    if not found:
        raise RecipeError(f"the shelf {shelf} is empty")
    return found


def _lines(info: MethodInfo, budgets: Sequence[Budget], tokens: int) -> list[str]:
    if any(k.default is None for k in info.knobs):
        return []  # it takes a second model, or a text, that only its user knows
    if not budgets:
        return [info.name]
    if any(k.name == "budget" and k.annotation == "Budget" for k in info.knobs):
        # what all others hold: a budget for every layer
        whole = ", skip_layers=0" if any(k.name == "skip_layers" for k in info.knobs) else ""
        return [f"{info.name}(budget={budget}{whole})" for budget in budgets]
    if not info.entries:
        return [info.name]
    knob, *beside = info.entries
    fixed = sum(int(k.default or 0) for k in info.knobs if k.name in beside)
    sizes = [budget.tokens(tokens) - fixed for budget in budgets]
    return [f"{info.name}({knob}={size})" for size in sizes if size > 1]


def _possible(lines: Sequence[str]) -> Swept:
    """Without the recipes whose budget the method has no room for. Raises RecipeError where none is left."""
    from ..recipes.recipe import Recipe

    kept, notes = [], []
    for line in lines:
        try:
            Recipe.parse(line)
        except RecipeError as error:
            notes.append(f"{line} is left out: {error}.")
        else:
            kept.append(line)
    if not kept:
        raise RecipeError(notes[0])
    return Swept(tuple(kept), tuple(notes))
