"""Loss by position, recomputed windows and attention on the first tokens, against naive twins."""

from __future__ import annotations

import pytest
import torch

from paretolm.cards.positions import by_position, edges, even_share, losses, recomputed, sink_share
from tests.contract.tiny import text, tiny


def test_losses_through_the_cache_are_those_of_one_forward() -> None:
    lm, ids, told = tiny("llama"), text(90), list[float]()
    with torch.no_grad():
        logs = lm.model(ids).logits[0, :-1].double().log_softmax(-1)
    naive = -logs[torch.arange(89), ids[0, 1:]]
    for chunk in (7, 64, 200):
        torch.testing.assert_close(losses(lm, "dense", ids, chunk, told.append).double(), naive, atol=1e-4, rtol=1e-4)
    assert told[-1] == 1.0


@pytest.mark.parametrize("sinks", [0, 4])
def test_recomputed_windows_one_by_one(sinks: int) -> None:
    lm, ids, places = tiny("llama"), text(120), torch.tensor([40, 41, 77, 118])
    found = recomputed(lm, ids, places, 32, sinks)
    for place, loss in zip(places.tolist(), found.tolist(), strict=True):
        read = ids[0, :sinks].tolist() + ids[0, place + 1 - (32 - sinks) : place + 1].tolist()
        assert len(read) == 32
        with torch.no_grad():
            logs = lm.model(torch.tensor([read])).logits[0, -1].log_softmax(-1)
        assert loss == pytest.approx(-float(logs[ids[0, place + 1]]), abs=1e-4)


def test_attention_on_the_first_tokens_is_what_transformers_says() -> None:
    lm, ids = tiny("llama", "eager"), text(100)
    with torch.no_grad():
        layers = lm.model(ids, output_attentions=True).attentions
    expected = [float(a[:, :, 64:, :4].sum(-1).mean()) for a in layers]
    assert sink_share(lm, ids) == pytest.approx(expected, abs=1e-5)


def test_attention_spread_evenly() -> None:
    assert even_share(66) == pytest.approx((4 / 65 + 4 / 66) / 2)


def test_borders_double_up_to_the_end() -> None:
    assert edges(1024, 64) == [0, 0.5, 1, 2, 4, 8, 16]
    assert edges(96, 64) == [0, 0.5, 1, 1.5]
    assert edges(64, 64) == [0, 0.5, 1]


def test_perplexity_between_borders_over_streams_together() -> None:
    streams = [torch.tensor([1.0, 1.0, 3.0]), torch.tensor([2.0, 2.0, 5.0])]
    assert by_position(streams, [0, 1, 2], 2) == pytest.approx([torch.e**1.5, torch.e**4])
