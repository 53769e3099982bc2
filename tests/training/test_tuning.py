"""Tuning in place: it learns, the same from the same seed, and says when it cannot."""

from __future__ import annotations

import copy

import pytest
import torch

from paretolm.bridge.lm import LM
from paretolm.errors import RunError
from paretolm.training.optimizers.adamw import AdamW
from paretolm.training.schedules.cosine import Cosine
from paretolm.training.tuning import tune
from tests.evaluation import judging


def fresh() -> LM:
    """A copy: the model is shared by all tests."""
    lm = judging.lm()
    return LM.from_model(copy.deepcopy(lm.model), lm.tokenizer, lm.name)


SEQUENCES = [[(i * k) % 50 + 5 for i in range(24)] for k in (1, 3, 7)]


def tuned(steps: int, lr: float = 0.01) -> tuple[float, torch.Tensor]:
    lm = fresh()
    loss = tune(lm, SEQUENCES, steps=steps, batch_size=3, optimizer=AdamW(lr=lr), schedule=Cosine(), seed=1)
    assert not lm.model.training
    return loss, next(lm.model.parameters()).detach().clone()


def test_the_loss_falls_and_weights_change() -> None:
    first, before = tuned(1)
    last, after = tuned(30)
    assert last < 0.7 * first
    assert not torch.equal(before, after)


def test_the_same_seed_gives_the_same_weights() -> None:
    assert torch.equal(tuned(5)[1], tuned(5)[1])


def test_a_loss_that_is_no_number_is_told() -> None:
    lm = fresh()
    with torch.no_grad():
        next(lm.model.parameters()).fill_(float("nan"))
    with pytest.raises(RunError, match="the loss of tuning step 1 is nan: give a smaller learning rate"):
        tune(lm, SEQUENCES, steps=2, batch_size=1, optimizer=AdamW(), schedule=Cosine())
