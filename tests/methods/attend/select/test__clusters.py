"""Clusters of keys and the attention they promise, against loops and by hand."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paretolm.methods.attend.select._clusters import Clusters, cluster, of_keys, regroup, shares, shares_below
from tests.methods.attend.select.chunks import tensors

TOLERANCE = 1e-5


def test_directions_that_are_far_apart_are_told_apart():
    """Keys near 0 and near 90 degrees, of any length: two clusters, whose centroids are means of the keys."""
    keys = torch.tensor([[1.0, 0.1], [4.0, -0.2], [0.1, 2.0], [0.0, 8.0], [3.0, 0.1]])[None, None]
    found = cluster(keys, 2)
    assert found.labels.tolist() == [[[0, 0, 1, 1, 0]]] or found.labels.tolist() == [[[1, 1, 0, 0, 1]]]
    near = int(found.labels[0, 0, 0])
    torch.testing.assert_close(found.centroids[0, 0, near], torch.tensor([8 / 3, 0.0]), atol=TOLERANCE, rtol=0)
    assert sorted(found.sizes[0, 0].tolist()) == [2, 3]


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 30), st.integers(1, 6), st.integers(0, 99))
def test_a_centroid_is_the_mean_of_its_keys_and_each_key_is_nearest_to_its_own(n, num, seed):
    _, keys = tensors(1, n, seed=seed)
    found = cluster(keys, min(num, n))
    for head in range(2):
        members = [keys[0, head][found.labels[0, head] == c] for c in range(min(num, n))]
        assert [len(m) for m in members] == found.sizes[0, head].tolist()
        for mean, own in zip(found.centroids[0, head], members, strict=True):
            if len(own):
                torch.testing.assert_close(mean, own.mean(0), atol=TOLERANCE, rtol=0)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 4), st.integers(4, 20), st.integers(0, 99))
def test_shares_equal_a_softmax_over_keys_that_stand_at_their_centroids(num, n, seed):
    queries, keys = tensors(num, n, seed=seed)
    found = cluster(keys, 3)
    ours = of_keys(shares(queries, found), found.labels)
    moved = found.centroids.gather(2, found.labels[..., None].long().expand_as(keys))
    logits = torch.einsum("bhgqd,bhnd->bhgqn", queries.unflatten(1, (2, 2)), moved) / math.sqrt(keys.shape[-1])
    torch.testing.assert_close(ours, logits.softmax(-1).mean(2), atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(ours.sum(-1), torch.ones(1, 2, num), atol=TOLERANCE, rtol=0)


@settings(deadline=None, max_examples=20)
@given(st.integers(8, 24), st.integers(0, 99))
def test_below_the_top_level_unopened_keys_stand_at_their_coarse_centroid(n, seed):
    queries, keys = tensors(2, n, seed=seed)
    fine = cluster(keys, 6)
    coarse, parents = regroup(fine, 2)
    assert torch.equal(coarse.sizes.sum(-1), torch.full((1, 2), float(n)))
    passed = torch.zeros(1, 2, 2, 2, dtype=torch.bool)
    passed[..., 0] = True
    ours = of_keys(shares_below(queries, fine, coarse, parents, passed), fine.labels)
    opened = coarse.labels == 0
    moved = torch.where(
        opened[..., None],
        fine.centroids.gather(2, fine.labels[..., None].long().expand_as(keys)),
        coarse.centroids.gather(2, coarse.labels[..., None].long().expand_as(keys)),
    )
    logits = torch.einsum("bhgqd,bhnd->bhgqn", queries.unflatten(1, (2, 2)), moved) / math.sqrt(keys.shape[-1])
    expected = logits.softmax(-1).mean(2) * opened[:, :, None]
    torch.testing.assert_close(ours, expected, atol=TOLERANCE, rtol=0)


def test_opening_everything_is_the_one_level_lookup():
    queries, keys = tensors(2, 20)
    fine = cluster(keys, 6)
    coarse, parents = regroup(fine, 2)
    everything = torch.ones(1, 2, 2, 2, dtype=torch.bool)
    below = shares_below(queries, fine, coarse, parents, everything)
    torch.testing.assert_close(below, shares(queries, fine), atol=TOLERANCE, rtol=0)


def test_rows_follow_the_batch():
    clusters = Clusters(torch.arange(2.0)[:, None, None, None], torch.ones(2, 1, 1), torch.zeros(2, 1, 3).int())
    assert clusters.rows(torch.tensor([1, 1])).centroids.flatten().tolist() == [1, 1]
