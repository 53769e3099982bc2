"""Quest's bounds and pages against loops; a forward of many tokens against single steps."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paretolm
from paretolm.contracts import Budget, Moment
from paretolm.errors import ConflictError, RecipeError
from paretolm.methods.attend.select._choice import indices, own_entries
from paretolm.methods.attend.select.quest import PageBounds, Quest, QuestPages, bounds, chosen_pages, most_possible
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.attend.select.chunks import FakeContext, FakeHeld, logits_of, step, tensors

LAWS = LawSpec(
    neutral="quest(budget=100%, page_size=8, dense_layers=0)", acts="quest(budget=25%, page_size=4, dense_layers=0)"
)
TOLERANCE = 1e-5


def loop_pages(queries, keys, page_size, num_pages):
    """The entries each query reads, a set a head and query: one query, page, key and channel at a time."""
    heads, group = keys.shape[1], queries.shape[1] // keys.shape[1]
    num, n = queries.shape[2], keys.shape[2]
    found = []
    for h in range(heads):
        for i in range(num):
            own = n - num + i
            bound = []
            for page in range(own // page_size):
                rows = keys[0, h, page * page_size : (page + 1) * page_size].tolist()
                total = 0.0
                for query in queries[0, h * group : (h + 1) * group, i].tolist():
                    total += sum(
                        max(q * x for x in column) for q, column in zip(query, zip(*rows, strict=True), strict=True)
                    )
                bound.append(total)
            order = sorted(range(len(bound)), key=bound.__getitem__, reverse=True)
            pages = [*order[: max(0, num_pages - 1)], own // page_size]
            found.append(sorted(e for p in pages for e in range(p * page_size, (p + 1) * page_size) if e <= own))
    return found


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 6), st.integers(0, 20), st.integers(1, 5), st.integers(1, 4), st.integers(0, 99))
def test_equals_a_loop_over_channels(num, before, page_size, num_pages, seed):
    n = num + before
    queries, keys = tensors(num, n, seed=seed)
    own = own_entries(n, num, keys.device)
    scores = most_possible(queries, *bounds(keys, page_size))
    mask = chosen_pages(scores, own, page_size, torch.full((num,), num_pages), n)
    ours = [mask[0, h, i].nonzero()[:, 0].tolist() for h in range(2) for i in range(num)]
    assert ours == loop_pages(queries, keys, page_size, num_pages)


def test_by_hand():
    """Pages (1, -2), (3, 0) and the query's own: for query 1 they may reach 1 and 3, for query -1 2 and 0."""
    keys = torch.tensor([1.0, -2.0, 3.0, 0.0, 9.0])[None, None, :, None]
    lowest, highest = bounds(keys, 2)
    assert (lowest.flatten().tolist(), highest.flatten().tolist()) == ([-2, 0], [1, 3])
    for query, entries in ((1.0, [2, 3, 4]), (-1.0, [0, 1, 4])):
        scores = most_possible(torch.full((1, 1, 1, 1), query), lowest, highest)
        mask = chosen_pages(scores, torch.tensor([4]), 2, torch.tensor([2]), 5)
        assert indices(mask).tolist() == [[entries]]


@pytest.mark.parametrize("line", ["quest(budget=16tok, page_size=4, dense_layers=0)", LAWS.acts])
def test_many_tokens_in_one_forward_read_what_each_reads_alone(line):
    single, counts = logits_of(line, 1)
    assert counts["entries_unread"] > 0
    for chunk in (5, 56):
        together, also = logits_of(line, chunk)
        torch.testing.assert_close(together, single, atol=1e-4, rtol=0)
        assert also == counts


def test_bounds_are_kept_for_whole_pages_that_stay_and_follow_what_is_taken_back():
    _, keys = tensors(1, 30)
    pages = PageBounds(4)
    for length, num in ((11, 3), (12, 1), (30, 18), (15, 2), (16, 1)):
        ours = pages.of(FakeHeld(keys[:, :, :length], length - num), num)
        for one, twin in zip(ours, bounds(keys[:, :, :length], 4), strict=True):
            assert torch.equal(one, twin)
        assert [t.shape[2] for t in pages.tensors()] == [(length - num) // 4] * 2


def test_pages_are_cut_anew_where_entries_have_left():
    _, keys = tensors(1, 30)
    pages = PageBounds(4)
    pages.of(FakeHeld(keys[:, :, :20], 19), 1)
    ours = pages.of(FakeHeld(keys[:, :, 3:24], 23), 1)
    for one, twin in zip(ours, bounds(keys[:, :, 3:24], 4), strict=True):
        assert torch.equal(one, twin)
    assert [t.shape[2] for t in pages.tensors()] == [0, 0]


def test_the_prompt_is_read_densely():
    queries, keys = tensors(20, 20)
    part = QuestPages(FakeContext(), Quest(budget=Budget(8, "tok"), page_size=4))
    assert part.choose(queries, FakeHeld(keys, 0), step(20, 0, Moment.PREFILL_END)) is None
    assert part.select(queries[:, :, -1:], FakeHeld(keys, 19), step(1, 19)).shape == (1, 2, 8)


def test_everything_stays_held_and_bounds_lie_in_the_prediction():
    lm, recipe = tiny(), paretolm.recipe(LAWS.acts)
    with recipe.apply(lm) as session, torch.inference_mode():
        stream = session.stream()
        stream.read(text(60), last=True)
        stream.step(text(3))
        assert stream.held == [63, 63]
        assert stream.kv_bytes in recipe.cost(lm.view, 63).kv_bytes
        assert stream.index_bytes == 2 * 15 * 16 * 2 * 2 * 4
        assert stream.index_bytes in recipe.cost(lm.view, 63).index_bytes


def test_it_stands_beside_eviction():
    with paretolm.recipe("quest(budget=16tok, page_size=4, dense_layers=0) + h2o(budget=32tok)").apply(tiny()) as s:
        stream = s.stream()
        stream.read(text(60), last=True)
        for token in text(4).split(1, dim=1):
            stream.step(token)
        assert stream.held == [32, 32]
        assert all(s.counters[name] for name in ("quest", "h2o"))


def test_a_budget_below_two_pages_is_refused():
    with pytest.raises(RecipeError, match="less than two pages"):
        Quest(budget=Budget(16, "tok"))


def test_a_model_of_dense_layers_alone_is_refused():
    with pytest.raises(ConflictError, match="lower dense_layers"):
        list(Quest().plan(tiny().view))
