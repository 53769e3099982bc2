"""ActQKV's probe and cut-off by hand and against a loop."""

import math
from types import SimpleNamespace

import pytest
import torch

import paretolm
from paretolm.methods.attend.select._blocks import Sizes
from paretolm.methods.attend.select.actqkv import ActivationLookup, Layers, activation_bias, scatter, weighed
from tests.contract.spec import LawSpec
from tests.contract.tiny import text, tiny
from tests.methods.attend.select.chunks import FakeContext, logits_of, tensors

SMALL = "n_init=2, n_local=16, block_size=4, topk=2, repr_topk=2, exc_block_size=8"
LAWS = LawSpec(neutral="actqkv(n_local=128)", acts=f"actqkv({SMALL})")
TOLERANCE = 1e-5


def test_a_query_counts_by_its_distance_in_variances():
    """Variances 1 and 4, a hundredth of their mean on top: (1/1.025 + 4/4.025) / 2 for the query at (1, 2)."""
    queries, mean, variance = torch.tensor([[[1.0, 2.0], [0.0, 0.0]]]), torch.zeros(1, 2), torch.tensor([[1.0, 4.0]])
    expected = torch.tensor([[(1 / 1.025 + 4 / 4.025) / 2, 0.0]])
    torch.testing.assert_close(activation_bias(queries, mean, variance), expected, atol=TOLERANCE, rtol=0)


def test_the_probe_is_the_weighed_mean_and_plain_where_nothing_stands_out():
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])[None, None]
    assert weighed(queries, torch.tensor([[3.0, 1.0]])).tolist() == [[[0.75, 0.25]]]
    assert weighed(queries, torch.zeros(1, 2)).tolist() == [[[0.5, 0.5]]]


def test_the_mean_and_variance_are_those_of_all_queries_so_far():
    part = ActivationLookup(FakeContext(), Sizes(0, 4, 2, 1), 4, 2)
    queries, _ = tensors(9, 9)
    part.probe(queries[:, :, :4])
    ours = part.probe(queries[:, :, 4:])
    flat = [queries[0, :, t].flatten().tolist() for t in range(9)]
    means = [sum(column) / 9 for column in zip(*flat, strict=True)]
    spread = [sum((x - m) ** 2 for x in c) / 9 for m, c in zip(means, zip(*flat, strict=True), strict=True)]
    floor = sum(spread) / len(spread) / 100
    bias = [sum((x - m) ** 2 / (v + floor) for x, m, v in zip(q, means, spread, strict=True)) for q in flat[4:]]
    twin = sum(b / sum(bias) * queries[0, :, 4 + i] for i, b in enumerate(bias))
    torch.testing.assert_close(ours[0], twin, atol=1e-4, rtol=0)


def test_scatter_is_the_entropy_in_shares_of_the_largest():
    assert scatter(torch.zeros(1, 4)) == pytest.approx(1)
    assert scatter(torch.tensor([[math.log(3.0), 0.0]])) == pytest.approx(-(0.75 * math.log2(0.75) + 0.25 * -2))
    assert scatter(torch.tensor([[5.0]])) == 1


def test_scattered_layers_get_more_of_the_same_total():
    layers = Layers()
    assert layers.share("low", 0.2, 2) == 1
    assert layers.share("high", 0.6, 2) == pytest.approx(1.5)
    assert layers.share("low", 0.2, 2) == pytest.approx(0.5)


@pytest.mark.parametrize(("cutoff", "queries", "number"), [(True, 1, 6), (False, 1, 4), (True, 2, 4)])
def test_the_cutoff_acts_on_single_tokens_alone(cutoff, queries, number):
    layers = Layers({0: 0.5})
    view = SimpleNamespace(full_layers=frozenset({0, 1}))
    ctx = FakeContext(shared=lambda make: layers, place=1, view=view)
    part = ActivationLookup(ctx, Sizes(0, 4, 2, 1), 4, 4, cutoff=cutoff)
    scores = torch.zeros(1, 3)
    layers.scatter[0] = 1 / 3
    assert part.number(scores, queries) == number


def test_windows_look_up_together_however_long_the_forward_is():
    windows, counts = logits_of(LAWS.acts, 8)
    assert counts["entries_unread"] > 0
    whole, also = logits_of(LAWS.acts, 56)
    torch.testing.assert_close(whole, windows, atol=1e-4, rtol=0)
    assert also == counts


def test_what_lies_beside_is_in_the_prediction():
    lm, recipe = tiny(), paretolm.recipe(LAWS.acts)
    with recipe.apply(lm) as session, torch.inference_mode():
        stream = session.stream()
        stream.read(text(80), last=True)
        stream.step(text(1))
        assert stream.held == [81, 81]
        assert stream.kv_bytes in recipe.cost(lm.view, 81).kv_bytes
        assert 0 < stream.index_bytes <= recipe.cost(lm.view, 81).index_bytes.high
