from __future__ import annotations

from dataclasses import dataclass, replace

from paretolm.contracts import Edit, Interval, Method, Slot, knob


@dataclass(frozen=True, kw_only=True)
class DropLast(Method):
    """Drops the last layers."""

    count: int = knob(1, low=0)

    def plan(self, view):
        dropped = view.layers[view.num_layers - self.count :]

        def reshape(now):
            return now.changed(layers=now.layers[: now.num_layers - self.count])

        return [Edit(Slot.WEIGHTS, frozenset(x.path for x in dropped), lambda context: None, reshape=reshape)]

    def cost(self, view, tokens, before):
        layers = before.layers[: len(before.layers) - self.count]
        return replace(before, layers=layers, weight_bytes=before.weight_bytes + Interval.exact(-1000.0 * self.count))
