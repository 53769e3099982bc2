"""Our cache: our layers where attention is full, the model's own elsewhere."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import DynamicCache

from .layer import HeldLayer


class HeldCache(DynamicCache):
    """A transformers cache whose full-attention layers are ours; the other layers stay native."""

    def __init__(self, config: Any, layers: dict[int, HeldLayer]) -> None:
        super().__init__(config=config)
        for index, layer in layers.items():
            self.layers[index] = layer
        self.held_layers = layers
        self.prompt_length: int | None = None
        self.prompt: Tensor | None = None  # all its ids [B, P], where they are known while parts of it are read

    def kv_tensors(self) -> list[Tensor]:
        """Keys, values and positions, native layers included."""
        native = [x for i, layer in enumerate(self.layers) if i not in self.held_layers for x in native_tensors(layer)]
        return [t for layer in self.held_layers.values() for t in layer.kv_tensors()] + native

    def index_tensors(self) -> list[Tensor]:
        """Scores, queries and other state that parts keep beside the cache."""
        return [t for layer in self.held_layers.values() for t in layer.index_tensors()]


def native_tensors(layer: Any) -> list[Tensor]:
    """Every tensor a native layer of transformers holds."""
    found: list[Tensor] = []
    for value in vars(layer).values():
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        found += [t for t in items if isinstance(t, Tensor)]
    return found
