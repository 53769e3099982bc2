from __future__ import annotations

from dataclasses import dataclass

from paretolm.contracts import Budget, Method, knob

LEAST = 8


@dataclass(frozen=True, kw_only=True)
class Ranked(Method):
    """What rankings share."""

    budget: Budget = knob(Budget.parse("25%"), help="entries held")
    least: int = knob(LEAST, low=1, help="entries that always stay")
    layers: str = knob("all", help="layers it acts on")
