"""Muon for the matrices inside the layers, AdamW for embeddings, output and norms.

Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon; the implementation is torch.optim.Muon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from ...contracts.knobs import knob
from ...errors import UserError
from ..contracts import Optimizer


@dataclass(frozen=True, kw_only=True)
class Muon(Optimizer):
    """lr is Muon's own, a step in spectral norm; adamw_lr that of everything else."""

    name: ClassVar[str] = "muon"

    lr: float = knob(0.02, low=0)
    momentum: float = knob(0.95, low=0, high=1)
    weight_decay: float = knob(0.1, low=0)
    adamw_lr: float = knob(0.003, low=0)
    beta1: float = knob(0.9, low=0, high=1)
    beta2: float = knob(0.95, low=0, high=1)

    def make(self, model: nn.Module) -> Sequence[torch.optim.Optimizer]:
        if not hasattr(torch.optim, "Muon"):
            raise UserError(f"muon needs torch 2.9 or newer, this is {torch.__version__}; or take optimizer.name=adamw")
        tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
        head = model.get_output_embeddings()  # type: ignore[operator]
        tables |= {id(head.weight)} if head is not None else set()
        inner = [p for p in model.parameters() if p.ndim == 2 and id(p) not in tables]
        chosen = {id(p) for p in inner}
        rest = [p for p in model.parameters() if id(p) not in chosen]
        return [
            torch.optim.Muon(inner, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay),
            torch.optim.AdamW(rest, lr=self.adamw_lr, betas=(self.beta1, self.beta2), weight_decay=0.0),
        ]
