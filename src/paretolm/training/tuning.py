"""Tuning a trained model on a little text: the same parts as a training run, without its directory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import RunError
from .contracts import Batch, Objective, Optimizer, Schedule
from .objectives.next_token import NextToken

if TYPE_CHECKING:
    from ..bridge.lm import LM


def tune(
    lm: LM,
    sequences: Sequence[Sequence[int]],
    *,
    steps: int,
    batch_size: int,
    optimizer: Optimizer,
    schedule: Schedule,
    objective: Objective | None = None,
    seed: int = 0,
    tell: Callable[[float], None] = lambda _: None,
) -> float:
    """Changes the model in place; the mean loss of the last tenth of the steps, in nats a token.

    sequences: of equal length, drawn again and again in an order of the seed. objective: next tokens where none is
    given. Raises RunError where the loss is no number."""
    model, device, objective = lm.model.train(), lm.model.device, objective or NextToken()
    optimizers = optimizer.make(model)
    rates = [[g["lr"] for g in o.param_groups] for o in optimizers]
    rng, losses = np.random.default_rng(seed), list[float]()
    for step in range(steps):
        _set_rates(optimizers, rates, schedule.scale(step, steps))
        rows = [sequences[i] for i in rng.integers(len(sequences), size=batch_size).tolist()]
        loss = objective.loss(model, Batch(torch.tensor(rows, device=device)))
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise RunError(f"the loss of tuning step {step + 1} is {losses[-1]}: give a smaller learning rate")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for each in optimizers:
            each.step()
            each.zero_grad(set_to_none=True)
        tell((step + 1) / steps)
    model.eval()
    return float(np.mean(losses[-max(1, steps // 10) :]))


def _set_rates(optimizers: Sequence[torch.optim.Optimizer], rates: Sequence[Sequence[float]], scale: float) -> None:
    for optimizer, own in zip(optimizers, rates, strict=True):
        for group, rate in zip(optimizer.param_groups, own, strict=True):
            group["lr"] = rate * scale
