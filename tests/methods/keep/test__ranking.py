"""Top entries: ascending, deterministic, the later one on ties."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from paretolm.methods.keep._ranking import top


def test_the_later_of_equal_scores_wins():
    assert top(torch.tensor([1.0, 2.0, 1.0, 2.0, 1.0]), 3).tolist() == [1, 3, 4]


def test_bf16_ties_are_broken_alike_in_every_head():
    scores = torch.tensor([0.1000, 0.1001, 0.1002, 0.0]).to(torch.bfloat16).expand(2, 3, 4)
    assert top(scores, 2).tolist() == [[[1, 2]] * 3] * 2


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=12), st.data())
def test_equals_a_sort_of_pairs(scores, data):
    k = data.draw(st.integers(0, len(scores)))
    best = sorted(range(len(scores)), key=lambda i: (scores[i], i))[len(scores) - k :]
    assert top(torch.tensor(scores), k).tolist() == sorted(best)
