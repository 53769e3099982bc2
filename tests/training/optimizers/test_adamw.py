"""AdamW turns everything once and lets only matrices decay."""

from __future__ import annotations

import pytest
import torch

from paretolm.training.optimizers.adamw import AdamW
from tests.training import tiny


@pytest.mark.parametrize("tied", [True, False])
def test_only_matrices_decay(tied: bool) -> None:
    model = tiny.model(50, tied=tied)
    (optimizer,) = AdamW(lr=0.3, beta1=0.4, beta2=0.5, weight_decay=0.6).make(model)
    assert isinstance(optimizer, torch.optim.AdamW)
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(decay) == len(list(model.parameters()))
    assert {name: decay[id(p)] for name, p in model.named_parameters()} == {
        name: 0.0 if "norm" in name else 0.6 for name, _ in model.named_parameters()
    }
    assert all((g["lr"], g["betas"]) == (0.3, (0.4, 0.5)) for g in optimizer.param_groups)


def test_a_model_of_matrices_alone_works() -> None:
    (optimizer,) = AdamW().make(torch.nn.Linear(3, 4, bias=False))
    assert len(optimizer.param_groups) == 1
