"""Keys of small norm, against a hand calculation and a naive twin."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paretolm
from paretolm.contracts import Budget, Moment, Observed, Step
from paretolm.errors import ConflictError
from paretolm.methods.keep.knorm import KnormKeep, smallest_norms
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.keep.fakes import FakeContext, FakeHeld, padded, positions

LAWS = LawSpec(neutral="knorm(budget=100%, skip_layers=0)", acts="knorm(budget=25%, skip_layers=0)")


def test_by_hand():
    keys = torch.tensor([[3.0, 4.0], [0.0, 1.0], [6.0, 8.0], [1.0, 1.0]])  # norms 5, 1, 10, 1.41
    assert smallest_norms(keys[None, None], 2).tolist() == [[[1, 3]]]


def test_of_equal_norms_the_later_key_stays():
    assert smallest_norms(torch.ones(1, 1, 4, 2), 3).tolist() == [[[1, 2, 3]]]


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
def test_equals_a_loop(n, k, seed):
    keys, k = torch.randn(2, 3, n, 4, generator=torch.Generator().manual_seed(seed)), min(n, k)
    for row, heads in enumerate(smallest_norms(keys, k)):
        for head, index in enumerate(heads):
            norms = [sum(float(x) ** 2 for x in key) for key in keys[row, head]]
            assert index.tolist() == sorted(sorted(range(n), key=norms.__getitem__)[:k])


def test_rows_of_a_padded_batch_keep_what_each_keeps_alone():
    keys = torch.randn(2, 2, 9, 4, generator=torch.Generator().manual_seed(0))
    keys[1, :, :4] = 0  # padding of the smallest norm
    part = KnormKeep(FakeContext(), Budget(50, "%"))
    step = Step(None, torch.zeros(2, 9), Moment.PREFILL_END, seen=0, padding=torch.tensor([0, 4]))
    held = padded(9, 9, 5)
    kept = part.settle(FakeHeld(held, 9, keys), Observed(None, None, None, 1.0), step)
    together = held.expand(-1, 2, -1).gather(-1, kept.index)
    alone = smallest_norms(keys[1:, :, 4:], 3)
    assert [[p for p in head if p >= 0] for head in together[1].tolist()] == alone[0].tolist()
    assert together[0].tolist() == smallest_norms(keys[:1], 5)[0].tolist()
    assert part.ctx.counts["tokens_evicted"] == 4


def test_acts_only_at_the_end_of_the_prompt():
    part, keys = KnormKeep(FakeContext(), Budget(2, "tok")), torch.ones(1, 1, 4, 2)
    for moment in (Moment.PREFILL, Moment.DECODE):
        step = Step(None, torch.zeros(1, 1), moment, seen=0)
        assert part.settle(FakeHeld(positions(range(4)), 4, keys), Observed(None, None, None, 1.0), step) is None


def test_the_first_layers_stay_whole():
    lm, recipe = tiny(), paretolm.recipe("knorm(budget=25%, skip_layers=1)")
    with recipe.apply(lm) as session, torch.inference_mode():
        stream = session.stream()
        stream.read(text(64), last=True)
        assert stream.held == [64, 16]
        assert stream.kv_bytes in recipe.cost(lm.view, 64).kv_bytes


def test_a_model_without_further_layers_is_refused():
    with pytest.raises(ConflictError, match="knorm names no layer"):
        paretolm.recipe("knorm").apply(tiny()).__enter__()
