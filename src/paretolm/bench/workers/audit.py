"""The judge's checks of itself on the items of one task, before its recipes count as measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...evaluation import audit
from ...evaluation.rows import Row
from ...evaluation.task import Item
from ...recipes.recipe import Recipe
from ..records.origin import audit_memo
from ..records.store import Store
from .arm import make_arm

if TYPE_CHECKING:
    from .measure import TaskRun

TOLERANCE = 1e-4  # relative, off the CPU
_FAILED = "the judge failed its own check: "


@dataclass(frozen=True)
class Auditor:
    """dense: key of the untouched model's cell, whose rows may be older than this run."""

    dense: str

    def __call__(self, run: TaskRun) -> None:
        """Keeps a doubt, empty where there is none, for every recipe that this run scored. Where the untouched model
        has no rows nothing is set against it, and there is nothing to check."""
        recipes = [arm for arm in run.arms if arm.alive and arm.key and not arm.recipe.is_dense]
        own = {one.item: one.rows for one in run.store.items(self.dense)}
        items = audit.sample(run.task, run.items, own, len(own) * len(recipes)) if recipes else []
        if not items:
            return
        found = {"doubt": self._doubt(run, items, own), "items": [item.id for item in items]}
        for arm in recipes:
            assert arm.key is not None
            run.store.remember(audit_memo(arm.key), found)

    def _doubt(self, run: TaskRun, items: Sequence[Item], own: dict[str, Sequence[Row]]) -> str:
        for item in items:
            if wrong := audit.favour(run.task, item):
                return _FAILED + wrong
        wrong = _differs(run, [audit.turned(run.task, item) for item in items], own)
        if not wrong:
            return ""
        if plain := _differs(run, items, own):
            return f"{_FAILED}through a recipe that does nothing {plain} as for the untouched model"
        return f"{_FAILED}with its choices in another order {wrong}"


def _differs(run: TaskRun, items: Sequence[Item], own: dict[str, Sequence[Row]]) -> str:
    """What the untouched model by the way of a recipe gets otherwise than in its own rows."""
    names = {item.id for item in items}
    with Store(":memory:") as store:
        store.plan({"again": {}})
        store.claim(["again"])
        arm = make_arm(run.lm, "again", Recipe((audit.Inert(),)), {}, names)
        alone = replace(run, items=items, arms=[arm], store=store, referee=None, audit=None, fed={})
        replace(alone, tell=lambda _: None).run()
        record = store.cells(["again"])["again"]
        again = {one.item: one.rows for one in store.items("again")}
    if record.error:
        return f"nothing comes of {next(iter(names - again.keys()))} ({record.error}), which is not"
    tolerance = 0.0 if run.lm.model.device.type == "cpu" else TOLERANCE
    found = (audit.difference(again[item.id], own[item.id], tolerance) for item in items)
    return next((wrong for wrong in found if wrong), "")
