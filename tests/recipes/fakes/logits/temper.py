from __future__ import annotations

from dataclasses import dataclass

from paretolm import contracts
from paretolm.contracts import WHOLE, Edit, Phase, Slot


@dataclass(frozen=True, kw_only=True)
class Temper(contracts.Method):
    """Divides the logits."""

    by: float = 1.0

    def plan(self, view):
        return [Edit(Slot.LOGITS, WHOLE, lambda context: None, phase=Phase.AFTER)]
