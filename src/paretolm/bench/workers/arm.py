"""An arm of a task's run: one recipe with what it still has to score, and how it comes to a prompt's end."""

from __future__ import annotations

import random
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...bridge.lm import LM
from ...bridge.stream import Stream
from ...contracts import Artifact, Forward, Method, Observe, Slot
from ...errors import CellError, ParetoError, UserError
from ...evaluation.isolated import describe
from ...evaluation.task import Item
from ...recipes.recipe import Recipe
from ...recipes.session import Session


@dataclass
class Arm:
    """One recipe on one task. key is None where only its base is wanted; missing: items still to score."""

    key: str | None
    recipe: Recipe
    artifacts: Mapping[str, Artifact]
    prefill: str
    shares: bool
    slots: frozenset[Slot]
    missing: set[str]
    early: tuple[Method, ...] = ()  # methods that act in the cache while the prompt is read
    alive: bool = True
    decided: bool = False  # its remaining items need not be scored
    observe: Observe = field(default_factory=Observe)

    @property
    def active(self) -> bool:
        return self.alive and not self.decided


def make_arm(lm: LM, key: str | None, recipe: Recipe, artifacts: Mapping[str, Artifact], missing: set[str]) -> Arm:
    """Raises ConflictError where the recipe cannot stand on this model."""
    plan = recipe.plan(lm.view)
    plan.raise_conflicts()
    slots = frozenset(e.slot for _, e in plan.pairs)
    return Arm(key, recipe, artifacts, recipe.prefill_hash(lm.view), plan.shares_prefill, slots, missing, plan.reading)


def read_prompt(session: Session, item: Item, chunk: int) -> tuple[Stream, Forward]:
    """A fresh stream at the end of the item's prompt, and what its last token gave."""
    ids, size = item.prompt_ids, item.prompt_length
    stream = session.stream(ids)
    for start in range(0, size, chunk):
        last = start + chunk >= size
        out = stream.read(ids[:, start : start + chunk], last=last, logits=False)
    return stream, out


def in_order(items: Sequence[Item], seed: int, limit: int | None) -> list[Item]:
    """Items in seeded random order, so that the first few stand for all."""
    found = list(items)
    random.Random(seed).shuffle(found)
    return found[:limit]


def reason(error: Exception) -> tuple[str, bool]:
    """(one sentence, whether the same call may succeed another time)."""
    told = describe(error)
    message = " ".join(told["message"].split())
    if told["kind"] == "CellError" and not isinstance(error, ParetoError):
        return message, True
    if isinstance(error, ParetoError):
        return message, not isinstance(error, UserError | CellError)
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{told['kind']}: {message[:300]} ({Path(at.filename).name}, line {at.lineno})", isinstance(error, OSError)
