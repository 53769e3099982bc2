"""Many sequences in a forward give what each gives alone."""

from __future__ import annotations

import numpy as np
import torch

from paretolm.bridge.lm import LM
from paretolm.cards import scoring
from paretolm.cards.scoring import portion, read
from tests.contract.tiny import text, tiny

LENGTHS = (7, 40, 2, 23, 40, 11)


def sequences() -> list[list[int]]:
    return [text(n, seed=i)[0].tolist() for i, n in enumerate(LENGTHS)]


def alone(lm: LM, sequence: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Loss and most likely token of each token after the first, from one forward of the sequence by itself."""
    with torch.no_grad():
        logs = lm.model(torch.tensor([sequence])).logits[0, :-1].double().log_softmax(-1)
    return -logs[torch.arange(len(sequence) - 1), sequence[1:]].numpy(), logs.argmax(-1).numpy()


def test_batches_padded_at_their_end_change_nothing(monkeypatch) -> None:
    monkeypatch.setattr(scoring, "_LOGITS", 40 * 97 * 4)  # four rows of the longest, more of shorter ones
    lm = tiny("llama")
    for sequence, found in zip(sequences(), read(lm, sequences()), strict=True):
        nll, top = alone(lm, sequence)
        np.testing.assert_allclose(found.nll, nll, atol=1e-4)
        assert found.top.tolist() == top.tolist()


def test_how_far_the_work_is_goes_up_to_the_end(monkeypatch) -> None:
    monkeypatch.setattr(scoring, "_LOGITS", 1)  # a sequence a forward
    told: list[float] = []
    read(tiny("llama"), sequences(), told.append)
    assert told == [(i + 1) / len(LENGTHS) for i in range(len(LENGTHS))]


def test_a_portion_of_the_work() -> None:
    told: list[float] = []
    portion(told.append, 1, 4)(0.5)
    assert told == [0.375]
