"""ALiBi: the slopes of its paper, scores by hand, and the trained attention where the bias is none."""

import pytest
import torch

from paretolm.methods.attend.masks.alibi import bias, slopes
from paretolm.recipes.recipe import recipe
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny

LAWS = LawSpec(neutral="alibi(scale=0)", acts="alibi", refused={"mistral_sliding": "full attention"})


def test_slopes_are_those_of_the_paper():
    assert slopes(8).tolist() == [2.0**-i for i in range(1, 9)]
    torch.testing.assert_close(slopes(16), torch.tensor([2 ** (-i / 2) for i in range(1, 17)]))
    assert slopes(6).tolist() == [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]  # of four heads, then of eight
    assert len(slopes(1)) == 1


def test_a_bias_by_hand():
    distance = torch.tensor([[[[5, 2, 0]]]])
    found = bias(distance, torch.tensor([0.5, 0.25]), 2)
    assert found[0, :, 0].tolist() == [[-1.5, 0, 0], [-0.75, 0, 0]]


def test_a_start_beyond_the_text_changes_nothing_and_a_nearer_one_spares_the_first_tokens():
    lm, ids = tiny("llama"), text(64)
    with torch.no_grad():
        own = lm.model(input_ids=ids).logits
    with recipe("alibi(start=64)").apply(lm) as session:
        torch.testing.assert_close(session.stream().read(ids, last=True).logits, own, atol=1e-5, rtol=1e-4)
    with recipe("alibi(start=16)").apply(lm) as session:
        found = session.stream().read(ids, last=True).logits
    torch.testing.assert_close(found[:, :17], own[:, :17], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(found[:, 32:], own[:, 32:], atol=1e-3)


@pytest.mark.parametrize("at_once", [1, 10**9])
def test_pieces_make_no_difference(at_once, monkeypatch):
    lm, ids = tiny("gpt_neox"), text(48)
    with recipe("alibi").apply(lm) as session:
        whole = session.stream().read(ids, last=True).logits
        monkeypatch.setattr("paretolm.methods.attend.masks.alibi.BIASES_AT_ONCE", at_once)
        torch.testing.assert_close(session.stream().read(ids, last=True).logits, whole)
        assert session.counters["alibi"]["queries_sloped"] == 2 * 48 * lm.view.num_layers
