"""A ranking with a base class in another file, and one of every type of knob."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from paretolm.contracts import Budget, Edit, Need, Slot, knob
from paretolm.errors import RecipeError

from ._ranked import Ranked

MODES = ("sum", "mean")


@dataclass(frozen=True, kw_only=True)
class LastFirst(Ranked):
    """Keeps the last entries,
    then the first ones. Unlike any paper, it is a fake.

    More words.
    """

    papers = ("2401.00001", "2401.00002")
    baseline: ClassVar[bool] = True
    least: int = knob(4, low=0, high=64, help="entries that always stay")
    window: int | None = None
    decay: float = knob(0.5, low=0, high=1, help="share (lambda)")
    mode: str = knob("sum", choices=MODES)
    form: Literal["flat", "two words", 3] = "flat"
    sorted_first: bool = False
    label: str = ""
    note: str | None = None
    shift: float | None = -1.5
    reach: Budget = Budget(1234567, "tok")

    def validate(self):
        if self.window is not None and self.window < self.least:
            raise RecipeError("window must be at least `least`")

    def plan(self, view):
        return [Edit(Slot.KEEP, view.full_layers, lambda context: None, breaks=frozenset({Need.CHUNK_INVARIANT}))]

    def chunk(self, tokens):
        return max(1, self.budget.tokens(tokens) // 8)
