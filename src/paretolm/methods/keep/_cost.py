"""Predicted bytes of a layer that holds fewer entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from paretolm.contracts import Budget, Interval, LayerCost, LayerView, ModelView
from paretolm.contracts.cost import POSITION_BYTES

SCORE_BYTES = 4  # float32
QUERY_POSITION_BYTES = 8  # int64, of an observed query


def holding(layer: LayerCost, entries: int, per_head: bool = False) -> LayerCost:
    """`layer` with at most `entries` entries; per_head: each head holds its own, so positions differ by head."""
    kept = layer.entries.at_most(entries)
    rows = layer.heads if per_head and kept.high < layer.entries.high else 1
    return replace(layer, entries=kept, position_bytes=POSITION_BYTES * rows)


def query_bytes(view: ModelView) -> int:
    """Of one observed query and its position, in all full-attention layers."""
    layers = [view.layers[i] for i in view.full_layers]
    return sum(layer.num_heads * layer.key_dim * view.dtype_bytes + QUERY_POSITION_BYTES for layer in layers)


def received_bytes(layers: Sequence[LayerView], budget: Budget, tokens: int) -> Interval:
    """Scores of the kept entries; where nothing is evicted, attention received since (a row a query head)."""
    capacity = budget.tokens(tokens)
    received = SCORE_BYTES * min(tokens, capacity) * sum(layer.num_heads for layer in layers)
    if tokens <= capacity:
        return Interval.exact(received)
    scores = SCORE_BYTES * capacity * sum(layer.num_kv_heads for layer in layers)
    idle = capacity > budget.tokens(tokens - 1)  # the budget grew by this token, so none had to go
    return Interval(scores, scores + received if idle else scores)
