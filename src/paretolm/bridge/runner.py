"""What PROMPT parts may ask of the model before the prompt is read."""

from __future__ import annotations

import torch
from torch import Tensor

from ..contracts import LayerInputs
from .binding import Binding
from .stream import Stream


class PromptRunner:
    """Runs the model with every edit in force, in requests of its own."""

    def __init__(self, binding: Binding, chunk: int = 512) -> None:
        self.binding, self.chunk = binding, chunk

    def logits(self, ids: Tensor) -> Tensor:
        """[1, T, V] of a text read on its own."""
        stream, size = Stream(self.binding), ids.shape[1]
        parts = [
            stream.read(ids[:, start : start + self.chunk], last=start + self.chunk >= size).logits
            for start in range(0, size, self.chunk)
        ]
        return torch.cat(parts, dim=1)

    def layer_inputs(self, ids: Tensor, layer: int) -> LayerInputs:
        """Queries and keys of `layer`; the layers above it are not run."""
        return self.binding.layer_inputs(ids, layer)
