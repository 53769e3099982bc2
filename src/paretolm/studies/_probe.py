"""Logistic regression on what a model makes of a text, every text judged by a fit that has not seen it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

PENALTIES = (0.1, 1.0, 10.0, 100.0)
ITERATIONS = 100


def fitted(features: Tensor, labels: Tensor, classes: int, penalty: float) -> tuple[Tensor, Tensor]:
    """Weights [d, classes] and bias [classes] of least mean loss plus penalty / n times half the squared weights.

    features [n, d], labels [n]."""
    weight = torch.zeros(features.shape[1], classes, dtype=features.dtype, requires_grad=True)
    bias = torch.zeros(classes, dtype=features.dtype, requires_grad=True)
    best = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        best.zero_grad()
        loss = nn.functional.cross_entropy(features @ weight + bias, labels)
        loss = loss + penalty / len(labels) * weight.square().sum() / 2
        loss.backward()
        return loss

    best.step(closure)
    return weight.detach(), bias.detach()


def folds(labels: Sequence[int], count: int, seed: int) -> Tensor:
    """The fold of each text [n]; every class is spread over them evenly."""
    dice, found = np.random.default_rng(seed), torch.zeros(len(labels), dtype=torch.long)
    for label in sorted(set(labels)):
        own = [i for i, other in enumerate(labels) if other == label]
        for place, i in enumerate(dice.permutation(own).tolist()):
            found[i] = (place + label) % count
    return found


def predicted(features: Tensor, labels: Sequence[int], seed: int, count: int = 5) -> list[int]:
    """The class of each text by a regression on the other folds, whose penalty was found inside of them."""
    known, classes = torch.tensor(labels), max(labels) + 1
    where, answers = folds(labels, count, seed), torch.zeros(len(labels), dtype=torch.long)
    for fold in range(count):
        train, test = where != fold, where == fold
        penalty = _best_penalty(features[train], known[train], classes, seed)
        answers[test] = _judged(features[train], known[train], features[test], classes, penalty)
    return answers.tolist()


def _best_penalty(features: Tensor, labels: Tensor, classes: int, seed: int) -> float:
    """The one with most right answers in three folds; of equal ones the larger."""
    where = folds(labels.tolist(), 3, seed)
    right = {
        penalty: sum(
            int((_judged(features[where != f], labels[where != f], features[where == f], classes, penalty)
                 == labels[where == f]).sum())
            for f in range(3)
        )
        for penalty in PENALTIES
    }  # fmt: skip
    return max(PENALTIES, key=lambda penalty: (right[penalty], penalty))


def _judged(train: Tensor, labels: Tensor, test: Tensor, classes: int, penalty: float) -> Tensor:
    mean, spread = train.mean(0), train.std(0).clamp(min=1e-6)
    weight, bias = fitted((train - mean) / spread, labels, classes, penalty)
    return (((test - mean) / spread) @ weight + bias).argmax(-1)
