"""Token recycling: the tree, the matrix, and text equal to plain decoding, greedy and sampled."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, ncx2
from transformers import NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper

from paretolm.contracts import Cost, Interval, Need, Slot
from paretolm.errors import ConflictError, RecipeError
from paretolm.methods.decode.drafts.token_recycling import (
    Recycler,
    TokenRecycling,
    grow,
    recycle,
    tree_template,
)
from tests.contract.spec import LawSpec
from tests.fakes import FakeContext, PlainDecode, TableModel, tiny_view, write
from tests.saboteurs.decode import GenerousRecycler

LAWS = LawSpec(neutral="token-recycling(num_nodes=0)", acts="token-recycling(num_nodes=40, recycle_prompt=true)")


def recycler(vocab_size=12, make=Recycler, **knobs):
    method = TokenRecycling(**{"k": 4, **knobs})
    return make(method, FakeContext(tiny_view(vocab_size)))


# --- the tree ---


def layers(template):
    depths = [node.depth for node in template]
    return [depths.count(depth) for depth in range(1, max(depths) + 1)]


def test_the_tree_of_the_papers_size_has_the_papers_shape():
    """Published: 80 nodes in layers of 8, 21, 25, 15, 8, 3."""
    assert layers(tree_template(80, 8, 6)) == [8, 21, 25, 19, 6, 1]


def test_a_small_tree_by_hand():
    """Weights 1, 1/2 (second child), 2/3 (a layer down), 4/9 (two down), 1/3 (second child a layer down, and the
    first child of the second)."""
    nodes = [(node.parent, node.rank, node.depth) for node in tree_template(4, 8, 6)]
    assert nodes == [(0, 0, 1), (0, 1, 1), (1, 0, 2), (3, 0, 3)]


@given(st.integers(0, 90), st.integers(1, 8), st.integers(1, 6))
def test_a_tree_is_complete_and_in_order(num_nodes, k, depth):
    template = tree_template(num_nodes, k, depth)
    assert len(template) == min(num_nodes, sum(k**layer for layer in range(1, depth + 1)))
    seen = {0: 0}
    for place, node in enumerate(template, start=1):
        assert node.parent < place
        assert node.depth == seen[node.parent] + 1 <= depth
        seen[place] = node.depth
    assert len({(node.parent, node.rank) for node in template}) == len(template)


def test_a_tree_is_filled_from_the_matrix():
    matrix = torch.tensor([[1, 2], [0, -1], [2, 1]], dtype=torch.int32)
    draft = grow(matrix, 0, tree_template(14, 2, 3), depth=3)
    assert draft.tokens == [0, 1, 2, 0, 2, 1, 1, 2, 2, 1, 0]
    assert draft.parents == [-1, 0, 0, 1, 2, 2, 3, 3, 4, 4, 5]
    assert draft.children[0] == {1: 1, 2: 2}
    assert draft.children[1] == {0: 3}  # the unknown successor of 1 is not drafted


def test_a_tree_stops_at_the_depth_asked_for():
    matrix = torch.zeros(3, 2, dtype=torch.int32)
    assert grow(matrix, 0, tree_template(14, 2, 3), depth=0).tokens == [0]
    assert len(grow(matrix, 0, tree_template(14, 2, 3), depth=1).tokens) == 3


@given(st.lists(st.integers(0, 6), min_size=1, max_size=20), st.integers(0, 10**6))
def test_the_matrix_keeps_the_best_of_the_last_occurrence(tokens, seed):
    logits = torch.randn(len(tokens), 7, generator=torch.Generator().manual_seed(seed))
    matrix = torch.full((7, 3), -1, dtype=torch.int32)
    naive = matrix.clone()
    for token, row in zip(tokens, logits, strict=True):
        naive[token] = row.argsort(descending=True)[:3].int()
    recycle(matrix, torch.tensor(tokens), logits)
    assert torch.equal(matrix, naive)


# --- exact ---


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0, 1, 3, 15, 40]), st.integers(1, 5), st.booleans())
def test_text_equals_plain_decoding_with_the_same_seed(seed, num_nodes, depth, do_sample):
    model, part = TableModel(12, scale=2, seed=seed), recycler(num_nodes=num_nodes, depth=depth)
    for prompt in ([3], [1, 2, 1, 2, 5]):  # the second with a warm matrix
        torch.manual_seed(seed)
        plain = write(PlainDecode(), model, prompt, new=20, do_sample=do_sample)
        torch.manual_seed(seed)
        drafted = write(part, model, prompt, new=20, do_sample=do_sample)
        assert drafted.ids == plain.ids
        assert drafted.port.settled == (prompt + drafted.ids)[:-1]
        assert drafted.port.forwards <= plain.port.forwards


def test_processors_see_the_prefix_of_each_node():
    model = TableModel(12, scale=2)
    processors = [
        RepetitionPenaltyLogitsProcessor(1.6),
        NoRepeatNGramLogitsProcessor(2),
        TemperatureLogitsWarper(0.7),
    ]
    for do_sample in (False, True):
        torch.manual_seed(1)
        plain = write(PlainDecode(), model, [1, 2, 3], new=30, do_sample=do_sample, processors=processors)
        torch.manual_seed(1)
        drafted = write(recycler(num_nodes=20), model, [1, 2, 3], new=30, do_sample=do_sample, processors=processors)
        assert drafted.ids == plain.ids


VOCAB, TEXTS, LENGTH = 8, 15, 400
DEGREES = VOCAB * (VOCAB - 1)
LIMIT = chi2.ppf(0.99, DEGREES)


def statistic(make, seed):
    """Pearson's, of the transitions in texts of a first-order model: each token given the one before it."""
    model = TableModel(VOCAB, scale=0.25, seed=3, order=1)
    part, counts = recycler(VOCAB, make, num_nodes=5), torch.zeros(VOCAB, VOCAB)
    torch.manual_seed(seed)
    for _ in range(TEXTS):
        ids = torch.tensor([0, *write(part, model, [0], new=LENGTH, do_sample=True).ids])
        counts += torch.bincount(ids[:-1] * VOCAB + ids[1:], minlength=VOCAB**2).view(VOCAB, VOCAB)
    expected = counts.sum(1, keepdim=True) * model.logits[0].softmax(-1)
    return float(((counts - expected) ** 2 / expected).sum())


def test_sampled_text_has_the_distribution_of_plain_sampling():
    assert all(statistic(Recycler, seed) < LIMIT for seed in (0, 1))


def test_a_5_percent_acceptance_bug_is_caught():
    found = [statistic(GenerousRecycler, seed) for seed in (0, 1, 2)]
    assert min(found) > LIMIT
    effect = sum(found) / len(found) - DEGREES  # a noncentral chi-square has the mean DEGREES + effect
    assert ncx2.sf(LIMIT, DEGREES, effect) > 0.9


# --- lifetime, bytes, refusals ---


def test_drafts_are_accepted_and_counted():
    model = TableModel(12, scale=3)
    part = recycler(num_nodes=15)
    text = write(part, model, [1, 2, 3], new=60)
    accepted = part.ctx.counters["drafts_accepted"]
    assert accepted > 0
    verifications = text.port.forwards - 1
    assert part.ctx.notes["tokens_per_forward"] == pytest.approx(59 / verifications, abs=1e-3)


def test_no_node_is_drafted_that_the_call_has_no_room_for():
    part, widths = recycler(num_nodes=40), []
    model = TableModel(12, scale=3)
    write(part, model, [1, 2, 3], new=30)

    def watched(ids):
        widths.append(len(ids))
        return model(ids)

    write(part, watched, [1, 2, 3], new=4)
    assert max(widths) == 3 + 4 - 1  # the last token of the text is never read


@pytest.mark.parametrize(("state", "stays"), [("session", True), ("request", False)])
def test_the_matrix_lives_as_long_as_its_knob_says(state, stays):
    part = recycler(state=state)
    write(part, TableModel(12), [1, 2, 3])
    part.ctx.new_request()
    assert bool((part.matrix >= 0).any()) is stays


def test_the_matrix_takes_vocabulary_times_k_entries_and_no_more():
    part, nothing = recycler(), Cost((), Interval(0, 0))
    write(part, TableModel(12), [1, 2, 3])
    (matrix,) = part.tensors()
    assert matrix.shape == (12, 4)
    cost = part.method.cost(tiny_view(12), 100, nothing)
    assert cost.index_bytes == Interval.exact(matrix.untyped_storage().nbytes()) == Interval.exact(12 * 4 * 4)
    assert cost.passes.high == 1


def test_the_plan():
    (edit,) = TokenRecycling().plan(tiny_view(100))
    assert edit.slot is Slot.DECODE
    assert edit.needs == {Need.TREE, Need.CHUNK_INVARIANT}
    assert not edit.breaks
    with pytest.raises(ConflictError, match="lower k"):
        list(TokenRecycling().plan(tiny_view(5)))
    with pytest.raises(RecipeError, match="num_nodes"):
        TokenRecycling(num_nodes=-1)
