"""H2O against a loop over heads and entries, step by step."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paretolm
from paretolm.contracts import Budget, Moment, Observed, Step
from paretolm.errors import ConflictError, RecipeError
from paretolm.methods.keep.h2o import H2O, H2OKeep, accumulate, heavy_and_recent, num_recent
from tests.contract.spec import LawSpec
from tests.contract.tiny import tiny
from tests.methods import checks
from tests.methods.keep.fakes import FakeContext, FakeHeld, positions

LAWS = LawSpec(neutral="h2o(budget=100%)", acts="h2o(budget=25%)")
TOLERANCE = 1e-5


def step(moment, queries=1):
    return Step(None, torch.zeros(1, queries), moment, seen=0)


def shown(received):
    return Observed(None, None, received, 1.0)


def test_by_hand():
    """Six entries, four stay, two of them recent: of the first four the scores 3 and 2, the later 2 of the two."""
    scores = torch.tensor([[[2.0, 3.0, 2.0, 1.0, 0.0, 0.0]]])
    assert heavy_and_recent(scores, capacity=4, recent=2).tolist() == [[[1, 2, 4, 5]]]


def test_scores_are_summed_over_a_group_and_carried_on():
    received = torch.tensor([[[1.0, 0, 0], [0, 2, 0], [0, 0, 4], [0, 0, 8]]])
    carried = torch.tensor([[[10.0, 20], [30, 40]]])
    assert accumulate(carried, received, num_kv_heads=2).tolist() == [[[11, 22, 0], [30, 40, 12]]]


@pytest.mark.parametrize(
    ("capacity", "share", "recent"), [(8, 0.5, 4), (7, 0.5, 4), (1, 0.5, 1), (30, 0.1, 3), (5, 0, 0), (5, 1, 5)]
)
def test_recent_share_rounds_up(capacity, share, recent):
    assert num_recent(capacity, share) == recent


@settings(deadline=None)
@given(
    st.integers(2, 9), st.integers(1, 14), st.integers(1, 8), st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.integers(0, 99)
)
def test_equals_a_loop_over_steps(budget, prompt, steps, share, seed):
    """Scores live in a dict a head, entries in a list a head; received attention is drawn at random."""
    heads, group = 2, 2
    generator = torch.Generator().manual_seed(seed)
    part = H2OKeep(FakeContext(heads), Budget(budget, "tok"), share)
    twin = [dict.fromkeys(range(prompt), 0.0) for _ in range(heads)]
    held, seen, recent = positions(range(prompt)).expand(1, heads, -1), prompt, num_recent(budget, share)
    pending = torch.zeros(1, heads * group, prompt)
    for turn in range(steps + 1):
        if turn:
            held = torch.cat([held, torch.full((1, heads, 1), seen)], -1)
            pending, seen = torch.nn.functional.pad(pending, (0, 1)), seen + 1
            for scores in twin:
                scores[seen - 1] = 0.0
        new = torch.rand(pending.shape, generator=generator)
        pending = pending + new
        for h, scores in enumerate(twin):
            for column, entry in enumerate(held[0, h].tolist()):
                scores[entry] += new[0, h * group : (h + 1) * group, column].sum().item()
            while len(scores) > budget:
                candidates = sorted(scores)[: len(scores) - recent]
                del scores[min(candidates, key=lambda e: (scores[e], e))]
        moment = Moment.DECODE if turn else Moment.PREFILL_END
        kept = part.settle(FakeHeld(held, seen), shown(pending), step(moment))
        if kept is not None:
            held, pending = held.gather(-1, kept.index), torch.zeros(1, heads * group, kept.index.shape[-1])
        assert [h.tolist() for h in held[0]] == [sorted(scores) for scores in twin]
    for h, scores in enumerate(twin):
        if part.scores is not None and not pending.any():
            expected = torch.tensor([scores[e] for e in held[0, h].tolist()])
            torch.testing.assert_close(part.scores[0, h], expected, atol=TOLERANCE, rtol=0)


def test_nothing_leaves_while_the_prompt_is_read():
    part = H2OKeep(FakeContext(1), Budget(2, "tok"), 0.5)
    held = FakeHeld(positions(range(6)), seen=6)
    assert part.settle(held, shown(torch.ones(1, 1, 6)), step(Moment.PREFILL)) is None
    assert part.settle(held, shown(torch.ones(1, 1, 6)), step(Moment.PREFILL_END)).index.tolist() == [[[4, 5]]]
    assert part.ctx.counts["tokens_evicted"] == 4


def test_a_budget_in_percent_grows_with_the_text():
    part = H2OKeep(FakeContext(1), Budget(50, "%"), 0.5)
    kept = part.settle(FakeHeld(positions(range(8)), seen=8), shown(torch.ones(1, 1, 8)), step(Moment.PREFILL_END))
    assert kept.index.shape[-1] == 4
    assert part.settle(FakeHeld(positions(range(5)), seen=9), shown(torch.ones(1, 1, 5)), step(Moment.DECODE)) is None


def test_rows_of_the_scores_follow_the_batch():
    part = H2OKeep(FakeContext(1), Budget(2, "tok"), 0.5)
    part.select_rows(torch.tensor([0]))
    assert list(part.tensors()) == []
    part.scores = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    part.select_rows(torch.tensor([1, 1]))
    assert next(iter(part.tensors())).tolist() == [[[3, 4]]] * 2


@pytest.mark.parametrize("line", ["h2o(budget=25%)", "h2o(budget=30tok)", "h2o(budget=100%)"])
def test_bytes_lie_in_the_prediction_at_every_step(line):
    checks.bytes_at_every_step(line, (20, 40), 56)


def test_only_few_tokens_a_forward_mean_this_method():
    assert H2O(budget=Budget(64, "tok")).chunk(1000) == 8
    assert H2O(budget=Budget(1, "tok")).chunk(1000) == 1


def test_a_padded_batch_is_refused():
    checks.padding_is_refused("h2o", "h2o gives up")


def test_a_share_outside_its_range_is_refused():
    with pytest.raises(RecipeError, match="recent must be 0 to 1"):
        H2O(recent=1.5)


def test_two_evictions_on_one_layer_conflict():
    with pytest.raises(ConflictError, match="h2o"):
        paretolm.recipe("h2o + snapkv").apply(tiny()).__enter__()
