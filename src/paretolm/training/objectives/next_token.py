"""Cross-entropy of each next token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..contracts import Batch, Objective


@dataclass(frozen=True, kw_only=True)
class NextToken(Objective):
    name: ClassVar[str] = "next-token"

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        logits = model(input_ids=batch.ids, position_ids=batch.positions, use_cache=False).logits[:, :-1]
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), batch.ids[:, 1:].flatten())
