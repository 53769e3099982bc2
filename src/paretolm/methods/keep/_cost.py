"""Predicted bytes of a layer that holds fewer entries."""

from __future__ import annotations

from dataclasses import replace

from paretolm.contracts import LayerCost
from paretolm.contracts.cost import POSITION_BYTES

SCORE_BYTES = 4  # float32


def holding(layer: LayerCost, entries: int, per_head: bool = False) -> LayerCost:
    """`layer` with at most `entries` entries; per_head: each head holds its own, so positions differ by head."""
    kept = layer.entries.at_most(entries)
    rows = layer.heads if per_head and kept.high < layer.entries.high else 1
    return replace(layer, entries=kept, position_bytes=POSITION_BYTES * rows)
