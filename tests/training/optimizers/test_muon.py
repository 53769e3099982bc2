"""Muon turns the matrices inside the layers, AdamW everything else; nothing twice."""

from __future__ import annotations

import pytest
import torch

from paretolm.errors import UserError
from paretolm.training.optimizers.muon import Muon
from tests.training import tiny

KNOBS = Muon(lr=0.3, momentum=0.4, weight_decay=0.5, adamw_lr=0.6, beta1=0.7, beta2=0.8)
INSIDE = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def named(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    names = {id(p): name for name, p in model.named_parameters()}
    return [names[id(p)] for group in optimizer.param_groups for p in group["params"]]


@pytest.mark.parametrize("tied", [True, False])
def test_every_parameter_has_one_optimizer(tied: bool) -> None:
    model = tiny.model(50, tied=tied)
    muon, adamw = KNOBS.make(model)
    inner, rest = named(model, muon), named(model, adamw)
    assert sorted(inner + rest) == sorted(name for name, _ in model.named_parameters())
    assert {name.split(".")[-2] for name in inner} == INSIDE
    assert len(inner) == 2 * len(INSIDE)
    assert ("lm_head.weight" in rest) == (not tied)
    assert "model.embed_tokens.weight" in rest
    assert all("norm" in name for name in rest if name not in ("lm_head.weight", "model.embed_tokens.weight"))


def test_knobs_go_where_they_belong() -> None:
    muon, adamw = KNOBS.make(tiny.model(50))
    assert isinstance(muon, torch.optim.Muon)
    assert isinstance(adamw, torch.optim.AdamW)
    (group,) = muon.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.3, 0.4, 0.5)
    (group,) = adamw.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.6, (0.7, 0.8), 0.0)


def test_an_old_torch_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(UserError, match=r"muon needs torch 2\.9 or newer, .* or take optimizer\.name=adamw"):
        KNOBS.make(tiny.model(50))
