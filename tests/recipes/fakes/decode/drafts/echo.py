from __future__ import annotations

from dataclasses import dataclass

from paretolm.contracts import WHOLE, Edit, Method, ModelRef, Need, Slot, knob


@dataclass(frozen=True, kw_only=True)
class Echo(Method):
    """Drafts what a second model says."""

    papers = ("2211.17192",)
    exact = True
    draft: ModelRef
    critic: ModelRef | None = None
    num_draft_tokens: int = knob(4, low=1)

    def plan(self, view):
        return [Edit(Slot.DECODE, WHOLE, lambda context: None, needs=frozenset({Need.ROLLBACK}))]
