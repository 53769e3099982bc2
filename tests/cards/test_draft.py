"""How often two models' next tokens are the same, counted by hand."""

from __future__ import annotations

import pytest
import torch

from paretolm.bridge.lm import LM
from paretolm.cards.draft import agreement
from paretolm.errors import ModelError
from tests.cards.made import other
from tests.evaluation import judging


def test_a_model_agrees_with_itself() -> None:
    found = agreement(judging.lm(), judging.lm(), judging.source(4).documents, 300, 8)
    assert (found["value"], found["low"], found["high"]) == (1.0, 1.0, 1.0)


def test_counted_by_hand() -> None:
    documents = judging.source(4).documents
    found = agreement(judging.lm(), other(), documents, 300, 100)
    same = positions = 0
    for d in documents:
        ids = judging.tokenizer()(d.text[:300])["input_ids"]
        for start in range(0, len(ids), judging.TRAINED - 1):
            read = torch.tensor([[0, *ids[start : start + judging.TRAINED - 1]]])
            with torch.no_grad():
                a, b = (m.model(read).logits[0, :-1].argmax(-1) for m in (judging.lm(), other()))
            same, positions = same + int((a == b).sum()), positions + len(a)
    assert 0 < same < positions
    assert found["positions"] == positions
    assert found["value"] == pytest.approx(same / positions)


def test_another_tokenizer_is_refused() -> None:
    stranger = LM.from_model(judging.lm().model, judging.tokenizer(300), "stranger")
    with pytest.raises(ModelError, match="stranger has another tokenizer than tiny"):
        agreement(judging.lm(), stranger, judging.source(4).documents, 300, 8)
