"""TokenSelect's vote against a loop over heads; a forward of many tokens against single steps."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paretolm
from paretolm.contracts import Budget, Moment
from paretolm.errors import RecipeError
from paretolm.methods.attend.select._choice import own_entries
from paretolm.methods.attend.select.token_select import TokenSelect, TokenVotes, between, voted
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.attend.select.chunks import FakeContext, FakeHeld, logits_of, step, tensors

SMALL = "n_init=2, n_local=4, chunk_size=16"
LAWS = LawSpec(neutral="token-select(budget=100%)", acts=f"token-select(budget=25%, {SMALL})")


def loop_vote(queries, keys, i, candidates, k):
    """Indices of the k candidates with most votes of query i, one head and pair at a time."""
    group = queries.shape[1] // keys.shape[1]
    votes = dict.fromkeys(candidates, 0.0)
    for head in range(queries.shape[1]):
        query = queries[0, head, i]
        weights = {j: math.exp(float(query @ keys[0, head // group, j]) / math.sqrt(len(query))) for j in candidates}
        for j in candidates:
            votes[j] += weights[j] / sum(weights.values())
    return set(sorted(candidates, key=votes.__getitem__, reverse=True)[:k])


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 5), st.integers(0, 12), st.integers(0, 3), st.integers(1, 4), st.integers(1, 4), st.integers(0, 99)
)
def test_votes_equal_a_loop_over_heads(num, before, n_init, n_local, k, seed):
    n = num + before
    queries, keys = tensors(num, n, seed=seed)
    own = own_entries(n, num, keys.device)
    mask = voted(queries, keys, between(n, own, n_init, n_local), torch.full((num,), k))
    for i, at in enumerate(own.tolist()):
        candidates = [j for j in range(n_init, n) if j <= at - n_local]
        assert set(mask[0, 0, i].nonzero()[:, 0].tolist()) == loop_vote(queries, keys, i, candidates, k)


def test_votes_of_a_chunk_of_the_prompt_are_those_of_its_mean_query():
    queries, keys = tensors(8, 24)
    part = TokenVotes(FakeContext(), TokenSelect(budget=Budget(9, "tok"), n_init=2, n_local=3, chunk_size=8))
    mask = part.choose(queries, FakeHeld(keys, 16), step(8, 16, Moment.PREFILL_END))
    far = loop_vote(queries.mean(2, keepdim=True), keys, 0, list(range(2, 14)), 4)
    for i in range(8):
        assert set(mask[0, 0, i].nonzero()[:, 0].tolist()) == far | {0, 1} | set(range(14, 17 + i))


@pytest.mark.parametrize("threshold", [1.0, 0.3])
def test_many_tokens_in_one_forward_read_what_each_reads_alone(threshold):
    line = f"token-select(budget=25%, {SMALL}, threshold={threshold})"
    single, counts = logits_of(line, 1)
    assert counts["entries_unread"] > 0
    for chunk in (3, 56):
        together, also = logits_of(line, chunk)
        torch.testing.assert_close(together, single, atol=1e-4, rtol=0)
        assert also == counts


def test_alike_queries_use_a_choice_again_and_equal_ones_always():
    queries, keys = tensors(1, 40)
    for threshold, reused in ((0.9, 3), (1.0, 3)):
        part = TokenVotes(FakeContext(), TokenSelect(budget=Budget(9, "tok"), n_init=2, n_local=3, threshold=threshold))
        ones = torch.ones_like(queries)
        for n in range(30, 34):
            part.select(ones, FakeHeld(keys[:, :, :n], n - 1), step(1, n - 1))
        assert part.ctx.counts["selections_made"] == 1
        assert part.ctx.counts["selections_reused"] == reused


def test_reads_exactly_the_budget_with_every_head_alike():
    queries, keys = tensors(1, 40)
    part = TokenVotes(FakeContext(), TokenSelect(budget=Budget(9, "tok"), n_init=2, n_local=3))
    index = part.select(queries, FakeHeld(keys, 39), step(1, 39))
    assert index.shape == (1, 1, 9)
    assert index[0, 0, [0, 1, -3, -2, -1]].tolist() == [0, 1, 37, 38, 39]


def test_what_is_remembered_lies_in_the_prediction():
    lm, recipe = tiny(), paretolm.recipe(LAWS.acts)
    with recipe.apply(lm) as session, torch.inference_mode():
        stream = session.stream()
        stream.read(text(60), last=True)
        stream.step(text(20))
        assert stream.held == [80, 80]
        assert 0 < stream.index_bytes <= recipe.cost(lm.view, 80).index_bytes.high


def test_it_stands_beside_eviction():
    with paretolm.recipe(f"token-select(budget=12tok, {SMALL}, threshold=-1) + h2o(budget=32tok)").apply(tiny()) as s:
        stream = s.stream()
        stream.read(text(60), last=True)
        for token in text(6).split(1, dim=1):
            stream.step(token)
        assert stream.held == [32, 32]
        assert s.counters["token-select"]["selections_reused"] > 0


def test_windows_that_fill_the_budget_are_refused():
    with pytest.raises(RecipeError, match="leave nothing of budget=64tok"):
        TokenSelect(budget=Budget(64, "tok"), n_init=16, n_local=48)
