"""Cross-entropy by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from paretolm.training.contracts import Batch
from paretolm.training.objectives.next_token import NextToken
from tests.training import tiny


def by_hand(logits: torch.Tensor, ids: torch.Tensor) -> float:
    """Mean over all tokens but the first of each row, in pure Python."""
    losses = []
    for row, tokens in zip(logits.tolist(), ids.tolist(), strict=True):
        for scores, target in zip(row[:-1], tokens[1:], strict=True):
            losses.append(math.log(sum(math.exp(s) for s in scores)) - scores[target])
    return sum(losses) / len(losses)


@pytest.mark.parametrize("positions", [None, [[0, 1, 2, 0, 1, 2, 3, 4]] * 3])
def test_loss_is_the_mean_of_log_softmax(positions: list[list[int]] | None) -> None:
    model, ids = tiny.model(50, std=0.3), torch.randint(3, 50, (3, 8), generator=torch.Generator().manual_seed(0))
    place = None if positions is None else torch.tensor(positions)
    loss = NextToken().loss(model, Batch(ids, place))
    logits = model(input_ids=ids, position_ids=place, use_cache=False).logits
    assert loss.item() == pytest.approx(by_hand(logits, ids), rel=1e-5)
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_half_precision_logits_are_summed_in_full() -> None:
    logits = torch.randn(1, 6, 300, generator=torch.Generator().manual_seed(0)).bfloat16()
    ids = torch.randint(0, 300, (1, 6), generator=torch.Generator().manual_seed(1))
    model = torch.nn.Module()
    model.forward = lambda **_: SimpleNamespace(logits=logits)
    assert NextToken().loss(model, Batch(ids)).item() == pytest.approx(by_hand(logits, ids), rel=1e-6)
