"""--until-sure: which cells still have something to decide, and where decisions are kept. Loads no torch.

A recipe is scored on a task, beside the untouched model, until its difference is decided. A decision is a fact
about items in the store (a memo), not a property of the cell: the cell is `partial`, its items are those any other
call would score, and a call without --until-sure, with another margin or with more recipes goes on from there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import UserError
from ..evaluation.sequential import Rule
from .plan import DENSE, Cell
from .records.keys import PACKAGE, digest, file_hash
from .records.store import SETTLED, Store

_DECIDING = ("evaluation/sequential.py", "evaluation/rows.py", "bench/workers/referee.py")

Job = list[dict[str, Any]]  # cells of one task, as a worker is told of them


@dataclass(frozen=True)
class Sure:
    """What was asked for. margin: in the unit of each task's first metric; alpha: of all recipes on one task."""

    margin: float = 0.01
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if not (math.isfinite(self.margin) and self.margin > 0):
            raise UserError(f"--margin is {self.margin:g}; it must be above 0, the difference that does not matter")
        if not 0 < self.alpha < 1:
            raise UserError(f"--alpha is {self.alpha:g}; it must lie between 0 and 1, the chance of a wrong decision")


@dataclass(frozen=True)
class Family:
    """The recipes of one task that share its alpha, and the untouched model."""

    dense: Cell
    recipes: Sequence[Cell]


class Docket:
    """What a request has to decide. lost: cells that broke during this call and are not tried again in it."""

    def __init__(self, sure: Sure | None, store: Store, cells: Sequence[Cell]) -> None:
        self.sure, self.store = sure or Sure(), store
        self.only: Mapping[str, Sequence[str]] = {}  # task -> items that are wanted, where not all are
        self.lost: set[str] = set()
        self._families = {f.dense.task: f for f in _families(cells)} if sure else {}
        self._code = {name: file_hash(PACKAGE / name) for name in _DECIDING}

    def decision(self, cell: Cell) -> dict[str, Any] | None:
        """word, after, e_value, low, high, documents, items (names, in order), of; None while there is none."""
        family = self._families.get(cell.task)
        known = self.store.recall(self._memo(family, cell)) if family and cell in family.recipes else None
        return dict(known) if known else None

    def rule(self, task: str) -> Rule:
        return Rule(self.sure.margin, self.sure.alpha, len(self._families[task].recipes))

    def is_open(self, cell: Cell, states: Mapping[str, str]) -> bool:
        """Whether a worker is needed: a recipe without a decision, or the untouched model for one of them.

        states: of all cells. Where the untouched model is lost, recipes are scored to the end."""
        family, state = self._families.get(cell.task), states[cell.key]
        if family is None or state == "failed" or self._alone(family, states):
            return state not in SETTLED
        if cell in family.recipes:
            return self.decision(cell) is None
        waits = any(c.key not in self.lost and self.is_open(c, states) for c in family.recipes)
        return state not in SETTLED and (waits or not any(map(self.decision, family.recipes)))

    def told(self, task: str, job: Job, states: Mapping[str, str]) -> tuple[Job, dict[str, Any] | None]:
        """The same cells as a worker must be told of them in order to decide, with the untouched model, done or not;
        and the rule, None where there is nothing to decide."""
        family = self._families.get(task)
        if family is None or self._alone(family, states):
            return job, None
        memos = {c.key: self._memo(family, c) for c in family.recipes}
        found = [one | {"decision": memos.get(one["key"], "")} for one in job]
        if all(not one["decision"] for one in found):
            return job, None
        if all(one["decision"] for one in found):
            found.append({"key": family.dense.key, "recipe": DENSE, "task": task, "decision": ""})
        return found, asdict(self.rule(task))

    def _alone(self, family: Family, states: Mapping[str, str]) -> bool:
        return states[family.dense.key] == "failed" or family.dense.key in self.lost

    def _memo(self, family: Family, cell: Cell) -> str:
        keys = {"cell": cell.key, "dense": family.dense.key, "recipes": len(family.recipes)}
        return digest({"what": "decision", **keys, **asdict(self.sure), "code": self._code})


def _families(cells: Sequence[Cell]) -> Iterator[Family]:
    """Tasks on which there is an untouched model and something to set against it."""
    for task in dict.fromkeys(c.task for c in cells if c.key and c.kind == "quality"):
        mine = [c for c in cells if c.task == task and c.key]
        dense = next((c for c in mine if c.recipe == DENSE), None)
        others = [c for c in mine if c.recipe != DENSE]
        if dense and others:
            yield Family(dense, others)
