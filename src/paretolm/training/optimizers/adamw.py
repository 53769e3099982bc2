"""AdamW for all parameters. Source: Loshchilov and Hutter 2019, arXiv 1711.05101."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from ...contracts.knobs import knob
from ..contracts import Optimizer


@dataclass(frozen=True, kw_only=True)
class AdamW(Optimizer):
    """Weight decay on matrices only."""

    name: ClassVar[str] = "adamw"

    lr: float = knob(0.002, low=0)
    beta1: float = knob(0.9, low=0, high=1)
    beta2: float = knob(0.95, low=0, high=1)
    weight_decay: float = knob(0.1, low=0)

    def make(self, model: nn.Module) -> Sequence[torch.optim.Optimizer]:
        matrices = [p for p in model.parameters() if p.ndim >= 2]
        others = [p for p in model.parameters() if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        return [torch.optim.AdamW([g for g in groups if g["params"]], lr=self.lr, betas=(self.beta1, self.beta2))]
