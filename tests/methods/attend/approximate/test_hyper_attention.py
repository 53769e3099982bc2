"""Merged parts, hashes, and the error of the sketch against exact attention."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import paretolm
from paretolm.errors import ConflictError
from paretolm.methods.attend.approximate._sorted import Sketch, exact, hashes
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.attend.approximate.masked import causal, dense

SIZES = "block_size=4, lsh_num_projs=3"
LAWS = LawSpec(
    neutral=f"hyper-attention(min_seq_len=128, {SIZES})",
    acts=f"hyper-attention(min_seq_len=8, sample_size=4, {SIZES})",
)


def sketch(sample, least=8, block=4, width=8, seed=0):
    make = torch.Generator().manual_seed(seed)
    return Sketch(torch.randn(width, 4, generator=make), block, sample, least, make)


def triple(length, rows=2, width=8, seed=0):
    make = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, length, width, generator=make) for _ in range(3)]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("size", [1, 5, 23])
def test_exact_parts_equal_a_dense_softmax_and_merge_to_it(size, fused, monkeypatch):
    monkeypatch.setattr("paretolm.methods.attend.approximate._sorted.SCORES_AT_ONCE", 60)
    if not fused:  # as on machines without the kernel
        monkeypatch.setattr("paretolm.methods.attend.approximate._sorted.fused", lambda *_, **__: None)
    q, k, v = triple(23)
    q = q[:, 23 - size :]
    expected = dense(q[None], k[None], v[None], causal(size, 23), 0.4)[0]
    torch.testing.assert_close(exact(q, k, v, 0.4, True).output, expected)
    parts = [exact(q, k[:, a:b], v[:, a:b], 0.4, False) for a, b in ((0, 9), (9, 23))]
    whole = dense(q[None], k[None], v[None], torch.ones(size, 23, dtype=torch.bool), 0.4)[0]
    merged = parts[0].merge(parts[1])
    torch.testing.assert_close(merged.output, whole)
    torch.testing.assert_close(merged.lse[..., 0], (q @ k.transpose(1, 2) * 0.4).logsumexp(-1))


def test_neighbouring_bins_differ_in_one_sign():
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 4)
    bins = hashes(signs[None], torch.eye(4))[0]
    assert sorted(bins.tolist()) == list(range(16))
    by_bin = signs[bins.argsort()]
    assert [(a != b).sum().item() for a, b in itertools.pairwise(by_bin)] == [1] * 15


@settings(deadline=None)
@given(st.integers(9, 70), st.integers(1, 9), st.integers(0, 99))
def test_a_sample_of_all_keys_is_exact(length, block, seed):
    q, k, v = triple(length, seed=seed)
    expected = dense(q[None], k[None], v[None], causal(length, length), 0.5)[0]
    found = sketch(10**6, block=block, seed=seed).causal(q, k, v, 0.5).output
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_the_error_shrinks_with_the_sample():
    q, k, v = triple(256, rows=4)
    expected = dense(q[None], k[None], v[None], causal(256, 256), 0.35)[0]
    errors = []
    for size in (4, 16, 64, 256):
        found = [sketch(size, seed=s).causal(q, k, v, 0.35).output for s in range(4)]
        errors.append(sum(float((x - expected).norm() / expected.norm()) for x in found) / 4)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-5 < errors[-2]


def test_work_grows_near_linearly_where_dense_grows_with_the_square():
    one = Sketch(torch.zeros(1, 1), 256, 256, 4096, torch.Generator())
    per_token = {n: one.pairs(n, n, True) / n for n in (4096, 65536)}
    assert per_token[65536] / per_token[4096] < 3
    dense_growth = (65537 / 2) / (4097 / 2)
    assert dense_growth > 15


@pytest.mark.parametrize("pieces", [[96], [40, 56], [7, 60, 29]])
def test_a_prompt_in_pieces_is_exact_under_a_full_sample(pieces):
    lm, ids = tiny(), text(96)
    line = f"hyper-attention(min_seq_len=8, sample_size=1000, {SIZES})"
    with torch.inference_mode():
        with paretolm.recipe("dense").apply(lm) as session:
            expected = session.stream().read(ids, last=True).logits
        with paretolm.recipe(line).apply(lm) as session:
            stream = session.stream()
            found = torch.cat([stream.read(part).logits for part in ids.split(pieces, 1)], 1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_more_layers_than_there_are_is_refused():
    with pytest.raises(ConflictError, match="this model has 2 layers"):
        list(paretolm.recipe("hyper-attention(num_patch_layers=3)").methods[0].plan(tiny().view))
