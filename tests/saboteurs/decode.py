"""Decoding methods that break exactness; the exactness tests must catch them."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from paretolm.contracts import Loop
from paretolm.methods.decode.drafts.token_recycling import Draft, Recycler


class GenerousRecycler(Recycler):
    """Once in twenty times accepts the first draft, whatever token was drawn."""

    rate = 0.05

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.random = random.Random(0)

    def choose(self, loop: Loop, logits: Tensor, draft: Draft, node: int) -> Tensor:
        token = super().choose(loop, logits, draft, node)
        drafted = next(iter(draft.children[node]), None)
        if drafted is not None and self.random.random() < self.rate:
            return torch.full_like(token, drafted)
        return token
