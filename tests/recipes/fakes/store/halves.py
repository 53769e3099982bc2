from __future__ import annotations

from dataclasses import dataclass, replace

from paretolm.contracts import Edit, Method, Phase, Slot, knob


@dataclass(frozen=True, kw_only=True)
class Halves(Method):
    """Values in half the bytes once the prompt is read."""

    bits: int = knob(8, choices=(8, 4))

    def plan(self, view):
        return [Edit(Slot.STORE, view.full_layers, lambda context: None, phase=Phase.AFTER)]

    def cost(self, view, tokens, before):
        return before.with_layers(view.full_layers, lambda c: replace(c, value_bytes=c.value_bytes * (self.bits / 16)))
