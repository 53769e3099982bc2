"""TOVA: what leaves, by hand, and what is held at every step."""

import pytest
import torch

from paretolm.contracts import Budget, Moment, Observed, Step
from paretolm.methods.keep.tova import TOVA, TOVAKeep
from tests.contract.spec import LawSpec
from tests.methods import checks
from tests.methods.keep.fakes import FakeContext, FakeHeld, positions

LAWS = LawSpec(neutral="tova(budget=100%)", acts="tova(budget=25%)")


def settle(budget, keys, query, moment=Moment.DECODE):
    part, n = TOVAKeep(FakeContext(), Budget(budget, "tok")), keys.shape[2]
    shown = Observed(query, None, None, 1.0)
    return part, part.settle(FakeHeld(positions(range(n)), n, keys), shown, Step(None, torch.zeros(1, 1), moment, 0))


def test_by_hand():
    """A query along the first axis; keys 1 and 3 point away from it."""
    keys = torch.tensor([2.0, -1, 1, -2, 0])[None, None, :, None] * torch.tensor([1.0, 0])
    part, kept = settle(3, keys, torch.tensor([1.0, 0])[None, None, None])
    assert kept.index.tolist() == [[[0, 2, 4]]]
    assert part.ctx.counts["tokens_evicted"] == 2


def test_the_newest_and_the_first_token_have_no_privilege():
    keys = torch.tensor([-2.0, 1, 1, 1, -1])[None, None, :, None] * torch.tensor([1.0, 0])
    _, kept = settle(3, keys, torch.tensor([1.0, 0])[None, None, None])
    assert kept.index.tolist() == [[[1, 2, 3]]]


def test_nothing_leaves_while_the_prompt_is_read():
    assert settle(2, torch.ones(1, 1, 6, 2), torch.ones(1, 1, 1, 2), Moment.PREFILL)[1] is None


@pytest.mark.parametrize("line", ["tova(budget=25%)", "tova(budget=30tok)"])
def test_bytes_lie_in_the_prediction_at_every_step(line):
    checks.bytes_at_every_step(line, (40,), 48)


def test_only_few_tokens_a_forward_mean_this_method():
    assert TOVA(budget=Budget(64, "tok")).chunk(1000) == 8


def test_a_padded_batch_is_refused():
    checks.padding_is_refused("tova", "tova gives up")
