"""What a model makes of given token sequences, many of them in one forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..evaluation.metrics.likelihood import token_nll

if TYPE_CHECKING:
    from ..bridge.lm import LM

Tell = Callable[[float], None]
"""Hears what share of a piece of work is done."""

_LOGITS = 1 << 25  # numbers of one forward's logits


def silent(share: float) -> None:
    """For those who need not hear."""


def portion(tell: Tell, number: int, whole: int) -> Tell:
    """For the work with this number, from 0, among `whole` equal ones."""
    return lambda share: tell((number + share) / whole)


@dataclass(frozen=True)
class Reading:
    """Of a sequence of n tokens: nats of each after the first [n-1], and the most likely token there [n-1]."""

    nll: np.ndarray
    top: np.ndarray


def read(lm: LM, sequences: Sequence[Sequence[int]], tell: Tell = silent) -> list[Reading]:
    """Each sequence by itself, in the order given. Sequences of like length share a forward; the shorter ones are
    filled up at their end, which a causal model cannot see."""
    order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
    found: dict[int, Reading] = {}
    for batch in _batches(order, sequences, lm.view.vocab_size):
        found |= zip(batch, _read([sequences[i] for i in batch], lm), strict=True)
        tell(len(found) / len(order))
    return [found[i] for i in range(len(sequences))]


def _batches(order: Sequence[int], sequences: Sequence[Sequence[int]], vocab: int) -> Iterator[list[int]]:
    """Longest first: the first of a batch says how wide it is."""
    start = 0
    while start < len(order):
        width = max(1, len(sequences[order[start]]))
        rows = max(1, _LOGITS // (width * vocab))
        yield list(order[start : start + rows])
        start += rows


@torch.inference_mode()
def _read(sequences: Sequence[Sequence[int]], lm: LM) -> list[Reading]:
    width = len(sequences[0])
    ids = torch.zeros(len(sequences), width, dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
    logits = lm.model(ids.to(lm.model.device), use_cache=False).logits
    found = []
    for row, sequence in enumerate(sequences):
        own = logits[row, : len(sequence) - 1]
        nll = token_nll(own, ids[row, 1 : len(sequence)]).cpu().double().numpy()
        found.append(Reading(nll, own.argmax(-1).cpu().numpy()))
    return found
