"""All edits of a recipe, collected with their owners and checked before anything changes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ..contracts import Edit, Method, ModelView, Need, Phase, Slot
from ..errors import CallError, ConflictError
from .conflicts import Conflict, Planned, find_conflicts
from .index import shelf_rank

if TYPE_CHECKING:
    from .recipe import Recipe

__all__ = ["Conflict", "Plan", "Planned", "check_call", "make_plan"]

CACHE_NEEDS = frozenset({Need.ROLLBACK, Need.TREE, Need.FORK, Need.QUERIES, Need.FULL_SCORES})


@dataclass(frozen=True)
class Plan:
    """steps: methods in order of application; view: the model as all of them leave it."""

    steps: tuple[Planned, ...]
    view: ModelView
    conflicts: tuple[Conflict, ...]

    @cached_property
    def pairs(self) -> tuple[tuple[Method, Edit], ...]:
        """Every edit with its method, in slot order."""
        pairs = [(step.method, edit) for step in self.steps for edit in step.edits]
        return tuple(sorted(pairs, key=lambda pair: pair[1].slot.order))

    def edits(self, slot: Slot) -> tuple[tuple[Method, Edit], ...]:
        return tuple(pair for pair in self.pairs if pair[1].slot is slot)

    @cached_property
    def breaks(self) -> dict[Need, str]:
        """What is given up, and by which method (the first of them)."""
        return {need: method.name for method, edit in reversed(self.pairs) for need in edit.breaks}

    @cached_property
    def needs(self) -> dict[Need, str]:
        """What is relied on, and by which method (the first of them)."""
        return {need: method.name for method, edit in reversed(self.pairs) for need in edit.needs}

    @property
    def takes_cache(self) -> bool:
        """Whether our cache and attention stand in for the model's own."""
        return any(edit.slot.in_cache or edit.needs & CACHE_NEEDS for _, edit in self.pairs)

    @property
    def reading(self) -> tuple[Method, ...]:
        """Methods that act in the cache while the prompt is read."""
        early = {id(m): m for m, e in self.pairs if e.slot.in_cache and e.phase is Phase.PREFILL}
        return tuple(early.values())

    @property
    def shares_prefill(self) -> bool:
        """Whether a prompt can be read once for all recipes of equal prefill hash."""
        return not self.reading and not self.view.refusals.get(Slot.KEEP.value)

    def raise_conflicts(self) -> None:
        """Raises ConflictError with every conflict on a line of its own."""
        if self.conflicts:
            raise ConflictError("\n".join(map(str, self.conflicts)))


def make_plan(recipe: Recipe, view: ModelView) -> Plan:
    """Plans methods in order of their first slot, each on the view that earlier edits leave."""
    steps: list[Planned] = []
    conflicts: list[Conflict] = []
    now = view
    for first in sorted(_first_look(recipe, view), key=_first_slot):
        step = first
        if now is not view or not first.edits:
            try:
                step = Planned(first.position, first.method, tuple(first.method.plan(now)), now)
            except ConflictError as error:
                conflicts.append(_no_place(first.method, error))
        steps.append(step)
        for edit in sorted(step.edits, key=lambda e: e.slot.order):
            now = edit.reshape(now) if edit.reshape else now
    return Plan(tuple(steps), now, (*conflicts, *find_conflicts(steps, now)))


def _first_look(recipe: Recipe, view: ModelView) -> Iterator[Planned]:
    """Each method on the untouched model; no edits where it has no place there (a reshaped one may have)."""
    for position, method in enumerate(recipe.methods):
        try:
            yield Planned(position, method, tuple(method.plan(view)), view)
        except ConflictError:
            yield Planned(position, method, (), view)


def check_call(plan: Plan, needed: Collection[Need]) -> None:
    """Raises CallError where a call relies on what the recipe or the model gives up."""
    for need in sorted(needed, key=lambda n: n.value):
        if need in plan.breaks:
            owner = plan.breaks[need]
            raise CallError(f"this call needs {need.value}, which {owner} gives up: drop {owner} or change the call")
        if need in plan.view.breaks:
            raise CallError(f"this call needs {need.value}, and {plan.view.breaks[need]}: change the call")


def _first_slot(planned: Planned) -> int:
    """By the edits; by the shelf where there are none to look at."""
    rank = shelf_rank(planned.method.name)
    return min((edit.slot.order for edit in planned.edits), default=len(Slot) if rank is None else rank)


def _no_place(method: Method, error: ConflictError) -> Conflict:
    name, text = method.name, str(error)
    return Conflict(text if text.startswith(name) else f"{name}: {text}", (name,), f"drop {name}")
