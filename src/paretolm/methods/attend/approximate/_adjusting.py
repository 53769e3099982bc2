"""Low-rank changes that make a model with shared attention matrices say what the original says."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from paretolm.contracts import Altered, Fitter

from ..._low_rank import Pair, fresh, learn, matrices, next_token_loss
from ._sharing import Matrices, Sharing

RATE = 5e-3


@dataclass(frozen=True)
class Distillation:
    """steps: texts, one after the other; alpha: weight of the next tokens beside the original's distribution."""

    steps: int
    rank: int
    alpha: float
    seed: int


def divergence(logits: Tensor, original: Tensor) -> Tensor:
    """Nats a token of the original's distribution that logits [1, T, V] lose (Kullback-Leibler)."""
    logs, target = (x[0].float().log_softmax(-1) for x in (logits, original))
    return functional.kl_div(logs, target, log_target=True, reduction="batchmean")


def adjust(
    fitter: Fitter, sharing: Sharing, paths: Collection[str], texts: Sequence[Tensor], how: Distillation
) -> tuple[dict[str, Pair], list[float]]:
    """(a pair for each matrix of `paths`, the divergence from the original at each step). texts: ids [1, T], read in
    seeded order, again where there are fewer than steps."""
    base = matrices(fitter, paths)
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(how.seed)).tolist()
    told = []

    def lesson(step: int, now: Mapping[str, Tensor]) -> Tensor:
        ids = texts[order[step % len(order)]]
        original, _ = fitter.forward(ids)
        logits, _ = fitter.altered(ids, Altered(weights=now, attention=Matrices(sharing).instead))
        apart = divergence(logits, original)
        told.append(apart.item())
        return (1 - how.alpha) * apart + how.alpha * next_token_loss(logits, ids)

    pairs, _ = learn(base, fresh(base, how.rank, how.seed), lesson, how.steps, RATE)
    return pairs, told
