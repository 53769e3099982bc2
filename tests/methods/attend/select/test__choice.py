"""Masks of what queries read, by hand."""

import torch

from paretolm.contracts import Budget
from paretolm.methods.attend.select._choice import attention, best, indices, own_entries, reading, within
from paretolm.methods.attend.select._reuse import Reused, leaders, spread

INF = float("-inf")


def test_the_best_of_each_query_and_never_what_is_hidden():
    scores = torch.tensor([[3.0, 1.0, 2.0], [INF, 5.0, INF], [1.0, 2.0, 3.0]])
    assert best(scores, torch.tensor([2, 2, 0])).tolist() == [
        [True, False, True],
        [False, True, False],
        [False, False, False],
    ]


def test_queries_stand_at_the_end():
    own = own_entries(5, 2, torch.device("cpu"))
    assert own.tolist() == [3, 4]
    assert reading(5, own).tolist() == [[True] * 4 + [False], [True] * 5]
    assert within(Budget(50, "%"), own).tolist() == [2, 3]


def test_rows_that_read_fewer_are_filled_with_their_newest():
    mask = torch.tensor([[[[True, False, True, False]], [[True, False, False, False]]]])
    assert indices(mask).tolist() == [[[0, 2], [0, 3]]]


def test_attention_of_a_group_is_scaled_by_the_width():
    queries = torch.tensor([[2.0, 0, 0, 0], [0, 2.0, 0, 0]])[None, :, None]
    keys = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])[None, None]
    high = torch.tensor(1.0).sigmoid().item()
    found = attention(queries, keys, torch.ones(1, 2, dtype=torch.bool))[0, 0, :, 0]
    torch.testing.assert_close(found, torch.tensor([[high, 1 - high], [1 - high, high]]))


def test_who_chooses_for_whom():
    """Angles of 0, 10, 60, 65 and 5 degrees: with cosine 0.9 the third chooses, and the last again."""
    angles = torch.deg2rad(torch.tensor([0.0, 10, 60, 65, 5]))
    queries = torch.stack([angles.cos(), angles.sin()], -1)[None, None]
    assert leaders(queries, None, 0, None, 0.9) == [0, 0, 2, 2, 4]
    assert leaders(queries[:, :, 1:], queries[:, :, 0], 0, None, 0.9) == [-1, 1, 1, 3]
    assert leaders(queries, None, 0, 2, None) == [0, 0, 2, 2, 4]
    assert leaders(queries, queries[:, :, 0], 0, 3, None) == [-1, -1, 2, 2, 2]
    assert leaders(queries, None, 0, 2, 0.9) == [0, 0, 2, 2, 4]


def test_a_choice_is_found_again_by_position():
    reused = Reused()
    query, mask = torch.zeros(1, 2, 4), torch.tensor([[[True, False, True, False], [False, True, True, False]]])
    reused.remember(query, mask, torch.arange(4)[None, None], at=3, since=0)
    later = torch.tensor([[[0, 2, 3, 4], [1, 3, 4, 5]]])
    assert reused.mask(later).tolist() == [[[True, True, False, False], [True, False, False, False]]]


def test_followers_read_what_their_leader_chose():
    before, chosen = torch.tensor([[[True, False]]]), torch.tensor([[[[False, True]]]])
    assert spread(before, chosen, [-1, 1, 1]).tolist() == [[[[True, False], [False, True], [False, True]]]]
    assert spread(before, None, [-1, -1]).tolist() == [[[[True, False], [True, False]]]]
