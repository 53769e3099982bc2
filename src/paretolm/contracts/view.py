"""ModelView: what a method may know of a model when it plans. Built without weights (meta device)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from .slots import Need

LayerKind = Literal["full", "sliding", "linear", "shared", "other"]


@dataclass(frozen=True)
class Linear:
    """A weight matrix by module path; tied: paths that share its storage."""

    path: str
    out_features: int
    in_features: int
    bias: bool
    bytes: int
    tied: frozenset[str] = frozenset()


@dataclass(frozen=True)
class LayerView:
    """One decoder layer. kind: what its attention is; only 'full' layers have our cache."""

    index: int
    path: str
    kind: LayerKind
    attention_path: str | None
    mlp_path: str | None
    num_heads: int
    num_kv_heads: int
    key_dim: int
    value_dim: int
    window: int | None = None  # of a sliding layer


@dataclass(frozen=True)
class Rope:
    """Rotary positions. rotated: how many of a head's channels turn; halves: (x1, x2) halves, not pairs."""

    rotated: int
    halves: bool
    base: float
    path: str


@dataclass(frozen=True)
class ModelView:
    """The model as the edits planned so far leave it."""

    architecture: str
    layers: tuple[LayerView, ...]
    hidden_size: int
    vocab_size: int
    trained_length: int
    dtype_bytes: int
    weight_bytes: int
    linears: tuple[Linear, ...]
    rope: Rope | None
    has_tokenizer: bool
    attention: str  # the implementation in force: eager, sdpa, ...
    head_path: str | None = None  # the output embedding
    refusals: Mapping[str, str] = field(default_factory=dict)  # slot value -> why this model has no place for it
    breaks: Mapping[Need, str] = field(default_factory=dict)  # what the model itself gives up, and why

    @property
    def full_layers(self) -> frozenset[int]:
        """Layers whose cache and attention methods may change; sliding and linear ones stay native."""
        return frozenset(layer.index for layer in self.layers if layer.kind == "full")

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def changed(self, **changes: object) -> ModelView:
        return replace(self, **changes)  # type: ignore[arg-type]
